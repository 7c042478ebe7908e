"""The features by which the confidence model tells right answers from wrong ones."""

import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import Final

from serving.pipeline.checks.grounding.terms import Term, parse_terms
from serving.pipeline.checks.grounding.verify import VerifiedAnswer
from serving.pipeline.index.base import Vectors
from serving.pipeline.text.answer_words import without_citations
from serving.pipeline.types import Answer, Hit

VERSION: Final = "1"  # raise it when a sign is computed in another way
MOST_PASSAGES: Final = 20
PASSAGE_LIMIT: Final = 4000  # characters of a passage that are looked at
QUESTION_LIMIT: Final = 2000
MOST_CLAIMS: Final = 4  # claims whose likeness to the question is computed
CLAIM_LIMIT: Final = 300
SIMILARITY: Final = "similarity"  # the one sign that needs embeddings
SIGNS: Final = (
    "groundedness",
    "weakest_claim",
    SIMILARITY,
    "question_in_passage",
    "question_in_answer",
    "missing_names",
    "rank",
    "one_document",
    "hedged",
    "truncated",
    "logprob",
)
_HEDGES: Final = re.compile(
    r"\b(?:perhaps|possibly|probably|presumably|apparently|unclear|uncertain|not (?:entirely )?(?:sure|certain|clear)|it (?:seems|appears)|"
    r"might|i (?:think|believe|assume|guess)|as far as i|not (?:explicitly )?(?:stated|mentioned|specified))\b",
    re.IGNORECASE,
)


def signs_of(
    question: str,
    answer: Answer,
    passages: Sequence[Hit],
    grounding: VerifiedAnswer,
    question_vector: Vectors | None = None,
    claim_vectors: Vectors | None = None,
) -> dict[str, float]:
    """The signs of an answer, each a number that is the same on every machine; a sign that is not known is left out."""
    asked = parse_terms(question[:QUESTION_LIMIT])
    stems = frozenset(term.stem for term in asked)
    texts = [_stems(hit) for hit in passages[:MOST_PASSAGES]]
    cited = _cited(answer, passages) or range(len(texts))
    written = without_citations(answer.text)[:PASSAGE_LIMIT]
    signs = {
        "groundedness": grounding.probability if grounding.probability is not None else 0.5,
        "weakest_claim": min((one.support.probability for one in grounding.claims), default=0.5),
        "question_in_passage": max((_share(stems, text) for text in texts), default=0.0),
        "question_in_answer": _share(stems, frozenset(term.stem for term in parse_terms(written))),
        "missing_names": _missing_names(asked, frozenset().union(*(texts[index] for index in cited))),
        "rank": math.log(sum(index + 1 for index in cited) / len(cited)) if cited else 0.0,
        "one_document": _largest_share([hit.chunk.document_id for hit in passages]),
        "hedged": float(_HEDGES.search(written) is not None),
        "truncated": float(answer.truncated),
    }
    if question_vector is not None and claim_vectors is not None:
        signs[SIMILARITY] = float((claim_vectors @ question_vector).max())
    if answer.mean_logprob is not None:
        signs["logprob"] = answer.mean_logprob
    return signs


def claims_to_embed(grounding: VerifiedAnswer) -> list[str]:
    """The texts whose vectors `signs_of` takes."""
    return [one.claim.text[:CLAIM_LIMIT] for one in grounding.claims[:MOST_CLAIMS]]


def _stems(hit: Hit) -> frozenset[str]:
    chunk = hit.chunk
    return frozenset(term.stem for term in parse_terms(f"{chunk.title} {chunk.heading}\n{chunk.text[:PASSAGE_LIMIT]}"))


def _cited(answer: Answer, passages: Sequence[Hit]) -> list[int]:
    """The places of the passages that are cited, among those looked at."""
    return [one.marker - 1 for one in answer.citations if 0 < one.marker <= min(len(passages), MOST_PASSAGES)]


def _share(stems: frozenset[str], text: frozenset[str]) -> float:
    return len(stems & text) / len(stems) if stems else 0.0


def _missing_names(asked: Sequence[Term], text: frozenset[str]) -> float:
    named = {term.stem for term in asked if term.kind != "word"}
    return len(named - text) / len(named) if named else 0.0


def _largest_share(names: Sequence[str]) -> float:
    return Counter(names).most_common(1)[0][1] / len(names) if names else 0.0
