"""Answers that are probably wrong: flagged with a warning, or refused."""

from dataclasses import replace
from typing import ClassVar, Literal

from pydantic import Field

from serving.pipeline.answer.cite import parse_citations
from serving.pipeline.checks.confidence.model import WORDS_ONLY, coefficients_digest, parse_confidence, shipped
from serving.pipeline.checks.confidence.signs import claims_to_embed, signs_of
from serving.pipeline.checks.grounding.embedder import NamedEmbeddings
from serving.pipeline.guard.base import CheckContext, CheckVerdict, Side
from serving.pipeline.guard.verified import verified
from serving.pipeline.models.threads import run_in_thread
from serving.pipeline.parts import Parts
from serving.pipeline.references import Artefact
from serving.pipeline.registry import Params as PlugInParams
from serving.pipeline.types import Answer, GuardAction

BLOCKED = "I cannot answer this with enough confidence."


class ConfidenceCheck:
    """Estimates the probability that an answer is right by a model fitted on judged answers; the score is that probability."""

    version: ClassVar[str] = f"1 {coefficients_digest()}"
    sides: ClassVar[tuple[Side, ...]] = ("output",)
    rewrites = False

    class Params(PlugInParams):
        """From where on an answer counts as sure enough, and what is done about others."""

        action: Literal["flag", "block"] = Field(default="flag", description="flag: a warning; block: a refusal")
        threshold: float = Field(default=0.2, ge=0.0, le=1.0, description="the least probability that the answer is right")
        similarity: bool = Field(default=True, description="false: nothing is embedded, by the model of words only")
        fitted: Artefact | None = Field(default=None, description="coefficients of your own: touchstone confidence; default: those shipped")

    def __init__(self, params: Params, parts: Parts) -> None:
        self._params = params
        self._question = parts.question
        self._embedder = NamedEmbeddings(parts.embedder, parts.embeddings)
        fitted = shipped() if params.fitted is None else parse_confidence(parts.artefacts.read(params.fitted), f"artefact {params.fitted}")
        self._model = fitted.model_for(parts.embedder if params.similarity else WORDS_ONLY)
        self.blocks = params.action == "block"

    async def check(self, text: str, context: CheckContext) -> CheckVerdict:
        """The confidence of the answer; a refusal has none."""
        if context.refused:
            return CheckVerdict.allow(text)
        confidence = await self._confidence(text, context)
        if confidence >= self._params.threshold:
            return CheckVerdict(GuardAction.ALLOW, text, confidence, confidence=confidence)
        reason = f"answers like this one are right {confidence:.0%} of the time"
        blocked = BLOCKED if self.blocks else ""
        warning = "" if self.blocks else f"Low confidence: {frequency(confidence)}. Check the sources before you rely on it."
        action = GuardAction(self._params.action)
        return CheckVerdict(
            action, text, confidence, "low_confidence", reason, message=blocked, warning=warning, confidence=None if blocked else confidence
        )

    async def _confidence(self, text: str, context: CheckContext) -> float:
        signs = await self.signs(text, context, similarity=self._model.needs_similarity)
        return round(self._model.probability(signs), 4)

    async def signs(self, text: str, context: CheckContext, *, similarity: bool = True) -> dict[str, float]:
        """What the model reads of an answer; without similarity, nothing is embedded for it."""
        grounding = await verified(text, context, self._embedder)
        texts = claims_to_embed(grounding) if similarity else []
        question = await self._question.vector(context.query.text) if texts else None
        cited = parse_citations(text, context.passages).citations  # of the text as the checks before have left it
        answer = replace(context.answer or Answer(text), text=text, citations=cited)

        def compute() -> dict[str, float]:
            claims = self._embedder.vectors(texts) if question is not None else None
            return signs_of(context.query.text, answer, context.passages, grounding, question, claims)

        return await run_in_thread(compute)


def frequency(confidence: float) -> str:
    """A probability as words for a reader."""
    times = round(confidence * 10)
    if times == 0:
        return "answers like this one are hardly ever right"
    return f"of ten answers like this one, about {times} {'is' if times == 1 else 'are'} right"
