"""Answers that do not stand on their passages: flagged or blocked."""

from typing import ClassVar, Literal

from pydantic import Field

from serving.pipeline.checks.grounding.check import check_answer
from serving.pipeline.checks.grounding.embedder import NamedEmbeddings
from serving.pipeline.checks.grounding.model import models_digest
from serving.pipeline.guard.base import CheckContext, CheckVerdict, Side
from serving.pipeline.models.threads import run_in_thread
from serving.pipeline.parts import Parts
from serving.pipeline.registry import Params as PlugInParams
from serving.pipeline.types import GuardAction


class GroundednessCheck:
    """Holds every claim of an answer against its passages; the score is the metric `groundedness`: their mean probability of support."""

    version: ClassVar[str] = f"1 {models_digest()}"
    sides: ClassVar[tuple[Side, ...]] = ("output",)
    rewrites = False

    class Params(PlugInParams):
        """From where on an answer is grounded, and what is done about others."""

        action: Literal["flag", "block"] = "block"
        threshold: float = Field(default=0.5, ge=0.0, le=1.0, description="the least mean probability that the passages support a claim")

    def __init__(self, params: Params, parts: Parts) -> None:
        self._params = params
        self._embedder = NamedEmbeddings(parts.embedder, parts.embeddings)
        self.blocks = params.action == "block"

    async def check(self, text: str, context: CheckContext) -> CheckVerdict:
        """Whether the answer stands on its passages; refusals and answers that claim nothing pass."""
        if context.refused:
            return CheckVerdict.allow(text)
        grounding = await run_in_thread(lambda: check_answer(text, context.passages, self._embedder))
        score = grounding.probability
        if score is None or score >= self._params.threshold:
            return CheckVerdict.allow(text, score)
        return CheckVerdict(GuardAction(self._params.action), text, score, "ungrounded", grounding.reason)
