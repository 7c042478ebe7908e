"""Verified claims, shared by the output checks: an answer's claims are verified once."""

from collections.abc import Sequence
from dataclasses import replace

from serving.pipeline.answer.cite import parse_citations
from serving.pipeline.checks.grounding.embedder import SentenceEmbedder
from serving.pipeline.checks.grounding.verify import VerifiedAnswer, verify_answer
from serving.pipeline.guard.base import CheckContext
from serving.pipeline.models.threads import run_in_thread
from serving.pipeline.text.answer_words import without_marks
from serving.pipeline.types import Citation, Hit


async def verified(text: str, context: CheckContext, embedder: SentenceEmbedder) -> VerifiedAnswer:
    """The claims of the answer with their support, computed in a thread for the first check that needs them."""
    key = f"verified by {embedder.model}: {without_marks(text)}"
    if key not in context.computed:
        context.computed[key] = await run_in_thread(lambda: verify_answer(text, context.passages, embedder))
    found: VerifiedAnswer = context.computed[key]
    return found


def verified_citations(text: str, passages: Sequence[Hit], answer: VerifiedAnswer, *, repaired: bool = False) -> tuple[Citation, ...]:
    """The citations of a text with the support of each: the least of the claims that cite it, `repaired` or not."""
    supports = answer.supports(repaired=repaired)
    return tuple(replace(one, support=supports.get(one.marker)) for one in parse_citations(text, passages).citations)
