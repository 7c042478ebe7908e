"""Insults, profanity and threats: flagged or blocked."""

from typing import ClassVar

from pydantic import Field

from serving.pipeline.checks.toxicity import TEXT_LIMIT, find_toxic, lexicon_digest
from serving.pipeline.guard.threshold import ScoredText, ThresholdCheck, ThresholdParams
from serving.pipeline.guard.windows import find_everywhere

OVERLAP = 100  # characters that two windows of a long text share, so that nothing is cut in two unseen


class ToxicityCheck(ThresholdCheck):
    """Adds up the weights of the toxic words of a text, at most 1. The reason names severities, never words."""

    name: ClassVar[str] = "toxicity"
    version: ClassVar[str] = f"2 {lexicon_digest()}"

    class Params(ThresholdParams):
        """From which score on, and what is done about it."""

        threshold: float | None = Field(default=0.5, gt=0.0, le=1.0, description="0.25: a mild word; 0.5: a strong one; 1: a severe one")

    def score(self, text: str) -> ScoredText:
        """The total weight, and the worst severity."""
        detections = find_everywhere(text, find_toxic, TEXT_LIMIT, OVERLAP)
        total = min(1.0, sum(detection.score for detection in detections))
        if not detections:
            return ScoredText(total)
        worst = max(detections, key=lambda detection: detection.score).kind
        return ScoredText(total, worst, f"{len(detections)} toxic, the worst {worst}")
