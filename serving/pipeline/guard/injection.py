"""Prompt injection: flagged or blocked."""

from typing import ClassVar

from pydantic import Field

from serving.pipeline.checks.injection import digest, find_injections
from serving.pipeline.guard.threshold import ScoredText, ThresholdCheck, ThresholdParams


class InjectionCheck(ThresholdCheck):
    """Detects sentences that instruct the model; the score is that of the most certain one."""

    version: ClassVar[str] = f"1 {digest()}"

    class Params(ThresholdParams):
        """From which score on, and what is done about it."""

        threshold: float = Field(default=0.5, ge=0.0, le=1.0, description="0.5: one pattern is enough; 0.75: two")

    def score(self, text: str) -> ScoredText:
        """The most certain detection."""
        detections = find_injections(text)
        if not detections:
            return ScoredText(0.0)
        best = max(detections, key=lambda detection: detection.score)
        return ScoredText(best.score, best.kind, f"gives an order of the kind {best.kind}")
