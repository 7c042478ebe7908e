"""Insults, profanity and threats: flagged or blocked."""

from typing import ClassVar

from pydantic import Field

from serving.pipeline.checks.toxicity import digest, find_toxic
from serving.pipeline.guard.threshold import ScoredText, ThresholdCheck, ThresholdParams


class ToxicityCheck(ThresholdCheck):
    """Adds up the weights of the toxic words of a text, at most 1. The reason names severities, never words."""

    version: ClassVar[str] = f"1 {digest()}"

    class Params(ThresholdParams):
        """From which score on, and what is done about it."""

        threshold: float = Field(default=0.5, gt=0.0, le=1.0, description="0.25: a mild word; 0.5: a strong one; 1: a severe one")

    def score(self, text: str) -> ScoredText:
        """The total weight, and the worst severity."""
        detections = find_toxic(text)
        total = min(1.0, sum(detection.score for detection in detections))
        if not detections:
            return ScoredText(total)
        worst = max(detections, key=lambda detection: detection.score).kind
        return ScoredText(total, worst, f"{len(detections)} toxic, the worst {worst}")
