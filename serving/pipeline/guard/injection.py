"""Prompt injection: instructions to the model in a question, a passage or an answer are flagged or blocked."""

from typing import ClassVar, Literal

from pydantic import Field

from serving.pipeline.checks.grounding.embedder import NamedEmbeddings
from serving.pipeline.checks.injection.detector import InjectionDetector
from serving.pipeline.checks.injection.version import detector_version
from serving.pipeline.fitted.calibrated import threshold_of
from serving.pipeline.guard.base import CheckContext, CheckVerdict, Side
from serving.pipeline.guard.excerpt import redacted_excerpt
from serving.pipeline.models.threads import run_in_thread
from serving.pipeline.parts import Parts
from serving.pipeline.references import Artefact
from serving.pipeline.registry import Params as PlugInParams
from serving.pipeline.types import GuardAction

AT_ONCE: int = 400  # characters that are checked faster than a thread is started


class InjectionCheck:
    """Scores the most certain order of a text; of a passage that was scored when it was indexed, only that score is read."""

    name: ClassVar[str] = "injection"
    version: ClassVar[str] = f"3 {detector_version()}"
    sides: ClassVar[tuple[Side, ...]] = ("input", "passages", "output")

    class Params(PlugInParams):
        """From which score on, and what is done about it."""

        action: Literal["flag", "cut", "block"] = Field(
            default="block",
            description="block: a passage is not read, a question or answer refused; cut: a passage is read without its orders",
        )
        threshold: float | None = Field(default=0.5, ge=0.0, le=1.0, description="0.5 is what the detector was fitted for")
        calibrated: Artefact | None = Field(default=None, description="by touchstone calibrate guard; counts where the threshold is null")

    def __init__(self, params: Params, parts: Parts) -> None:
        self._params = params
        self._threshold = threshold_of(
            params.threshold, params.calibrated, parts.artefacts, "guard", f"{self.name} {self.version}", f"check {self.name!r}"
        )
        self._detector = InjectionDetector(NamedEmbeddings(parts.embedder, parts.embeddings) if parts.embedder else None)
        self.cuts = self.rewrites = params.action == "cut"
        self.blocks = params.action != "flag"

    async def check(self, text: str, context: CheckContext) -> CheckVerdict:
        """Whether the text gives an order; the excerpt shows the order without personal data."""
        passages = context.side == "passages"
        stored = context.passages[0].chunk.instruction_score if passages and context.passages else 0.0
        if 0.0 < stored < self._threshold:
            return CheckVerdict.allow(text, stored)
        look = self._detector.in_passage if passages else self._detector.in_question
        found = look(text) if len(text) <= AT_ONCE and not passages else await run_in_thread(lambda: look(text))
        score = stored or (found.score if found else 0.0)
        if score < self._threshold or (not stored and found is None):
            return CheckVerdict.allow(text, score)
        rule = found.kind if found else "indexed"
        excerpt = redacted_excerpt(text, found.start, found.end) if found else ""
        if not self.cuts:
            return CheckVerdict(GuardAction(self._params.action), text, score, rule, _reason(rule), excerpt=excerpt)
        cut = await run_in_thread(lambda: self._detector.without_orders(text, self._threshold))
        action = GuardAction.MASK if cut else GuardAction.BLOCK
        return CheckVerdict(action, cut or text, score, rule, _reason(rule), excerpt=excerpt)


def _reason(rule: str) -> str:
    return "gives an order to the model" if rule in ("model", "indexed") else f"gives an order to the model, of the kind {rule}"
