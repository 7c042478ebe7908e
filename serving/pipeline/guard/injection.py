"""Prompt injection: flagged or blocked."""

from typing import ClassVar

from pydantic import Field

from serving.pipeline.checks.detection import Detection
from serving.pipeline.checks.injection import SENTENCE_LIMIT, TEXT_LIMIT, find_injections, patterns_digest
from serving.pipeline.guard.threshold import ScoredText, ThresholdCheck, ThresholdParams
from serving.pipeline.guard.windows import find_everywhere, windows

WITHIN = "x "  # before what is not the beginning of a sentence, where orders are told by their first word


class InjectionCheck(ThresholdCheck):
    """Detects sentences that instruct the model; the score is that of the most certain one."""

    name: ClassVar[str] = "injection"
    version: ClassVar[str] = f"2 {patterns_digest()}"

    class Params(ThresholdParams):
        """From which score on, and what is done about it."""

        threshold: float | None = Field(default=0.5, ge=0.0, le=1.0, description="0.5: one pattern is enough; 0.75: two")

    def score(self, text: str) -> ScoredText:
        """The most certain detection."""
        detections = _find_everywhere(text)
        if not detections:
            return ScoredText(0.0)
        best = max(detections, key=lambda detection: detection.score)
        return ScoredText(best.score, best.kind, f"gives an order of the kind {best.kind}")


def _find_everywhere(text: str) -> list[Detection]:
    """What the detector finds in a text of any length, also behind the characters of a sentence that it looks at."""
    detections = find_everywhere(text, find_injections, TEXT_LIMIT, SENTENCE_LIMIT)
    for line in text.split("\n"):
        pieces = [piece for start, piece in windows(line, SENTENCE_LIMIT - len(WITHIN), SENTENCE_LIMIT // 2) if start]
        detections += [detection for piece in pieces for detection in find_injections(WITHIN + piece)]
    return detections
