"""Checks that compare one score of a text with a threshold."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

from pydantic import Field

from serving.pipeline.fitted.calibrated import threshold_of
from serving.pipeline.guard.base import CheckContext, CheckVerdict, Side
from serving.pipeline.parts import Parts
from serving.pipeline.references import Artefact
from serving.pipeline.registry import Params as PlugInParams
from serving.pipeline.types import GuardAction


class ThresholdParams(PlugInParams):
    """The threshold, and the action from it on."""

    action: Literal["flag", "block"] = "block"
    threshold: float | None
    calibrated: Artefact | None = Field(default=None, description="by touchstone calibrate guard; counts where the threshold is null")


@dataclass(frozen=True, slots=True)
class ScoredText:
    """The score of a text, with the rule and reason of a verdict against it."""

    score: float
    rule: str = ""
    reason: str = ""


class ThresholdCheck:
    """Flags or blocks a text whose score reaches the threshold; a subclass defines `score`."""

    name: ClassVar[str]  # in the table, as an artefact's scorer has it
    version: ClassVar[str]
    sides: ClassVar[tuple[Side, ...]] = ("input", "output")
    rewrites = False

    def __init__(self, params: ThresholdParams, parts: Parts) -> None:
        self._params = params
        scorer = f"{self.name} {self.version}"
        self._threshold = threshold_of(params.threshold, params.calibrated, parts.artefacts, "guard", scorer, f"check {self.name!r}")
        self.blocks = params.action == "block"

    @abstractmethod
    def score(self, text: str) -> ScoredText:
        """The score of a text; 0 where nothing is detected."""

    async def check(self, text: str, context: CheckContext) -> CheckVerdict:
        """The text is allowed below the threshold."""
        return self.verdict(text, self.score(text))

    def verdict(self, text: str, scored: ScoredText) -> CheckVerdict:
        """The verdict for a score."""
        if not scored.rule or scored.score < self._threshold:
            return CheckVerdict.allow(text, scored.score)
        return CheckVerdict(GuardAction(self._params.action), text, scored.score, scored.rule, scored.reason)
