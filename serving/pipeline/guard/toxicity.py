"""Insults, profanity and threats: flagged or blocked."""

from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field

from serving.pipeline.checks.detection import Detection
from serving.pipeline.checks.toxicity import TEXT_LIMIT, find_toxic, lexicon_digest
from serving.pipeline.guard.base import CheckContext, CheckVerdict
from serving.pipeline.guard.threshold import ScoredText, ThresholdCheck, ThresholdParams
from serving.pipeline.guard.windows import find_everywhere
from serving.pipeline.models.threads import run_in_thread
from serving.pipeline.parts import Parts

OVERLAP = 100  # characters that two windows of a long text share, so that nothing is cut in two unseen
LONG = 5000  # characters from which on a text is read in a thread, where the time budget can give it up


class ToxicityCheck(ThresholdCheck):
    """Adds up the weights of the toxic words of a text, at most 1. The reason names severities, never words.

    An answer may quote its passages: a conduct policy names what it forbids. What the question says is no excuse.
    """

    name: ClassVar[str] = "toxicity"
    version: ClassVar[str] = f"3 {lexicon_digest()}"

    class Params(ThresholdParams):
        """From which score on, and what is done about it."""

        threshold: float | None = Field(default=0.5, gt=0.0, le=1.0, description="0.25: a mild word; 0.5: a strong one; 1: a severe one")
        allow_passages: bool = Field(default=True, description="words that stand in the passages may be said")

    def __init__(self, params: Params, parts: Parts) -> None:
        super().__init__(params, parts)
        self._quotes = params.allow_passages

    async def check(self, text: str, context: CheckContext) -> CheckVerdict:
        """The text is allowed below the threshold."""
        detections = _everywhere(text) if len(text) <= LONG else await run_in_thread(lambda: _everywhere(text))
        if detections and context.side == "output" and self._quotes:
            quotable = {one.value.casefold() for hit in context.passages for one in _everywhere(hit.chunk.text)}
            detections = [one for one in detections if one.value.casefold() not in quotable]
        return self.verdict(text, _scored(detections))

    def score(self, text: str) -> ScoredText:
        """The total weight, and the worst severity."""
        return _scored(_everywhere(text))


def _everywhere(text: str) -> list[Detection]:
    return find_everywhere(text, find_toxic, TEXT_LIMIT, OVERLAP)


def _scored(detections: Sequence[Detection]) -> ScoredText:
    total = min(1.0, sum(detection.score for detection in detections))
    if not detections:
        return ScoredText(total)
    worst = max(detections, key=lambda detection: detection.score).kind
    return ScoredText(total, worst, f"{len(detections)} toxic, the worst {worst}")
