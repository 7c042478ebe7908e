"""Insults, profanity and threats: flagged or blocked."""

from typing import ClassVar, Literal

from pydantic import Field

from serving.pipeline.checks.detection import Detection
from serving.pipeline.checks.toxicity import TEXT_LIMIT, find_toxic, lexicon_digest
from serving.pipeline.guard.base import CheckContext, CheckVerdict, Side
from serving.pipeline.guard.windows import find_everywhere
from serving.pipeline.models.threads import run_in_thread
from serving.pipeline.parts import Parts
from serving.pipeline.registry import Params as PlugInParams
from serving.pipeline.types import GuardAction

OVERLAP = 100  # characters that two windows of a long text share, so that nothing is cut in two unseen
LONG = 5000  # characters from which on a text is read in a thread, where the time budget can give it up


class ToxicityCheck:
    """Adds up the weights of the toxic words of a text, at most 1. The reason names severities, never words.

    An answer may quote its passages: a conduct policy names what it forbids. What the question says is no excuse.
    """

    version: ClassVar[str] = f"3 {lexicon_digest()}"
    sides: ClassVar[tuple[Side, ...]] = ("input", "output")
    rewrites = False

    class Params(PlugInParams):
        """From which score on, and what is done about it."""

        action: Literal["flag", "block"] = "block"
        threshold: float = Field(default=0.5, gt=0.0, le=1.0, description="0.25: a mild word; 0.5: a strong one; 1: a severe one")
        allow_passages: bool = Field(default=True, description="words that stand in the passages may be said")

    def __init__(self, params: Params, parts: Parts) -> None:
        self._params = params
        self.blocks = params.action == "block"

    async def check(self, text: str, context: CheckContext) -> CheckVerdict:
        """The text is allowed below the threshold."""
        detections = _everywhere(text) if len(text) <= LONG else await run_in_thread(lambda: _everywhere(text))
        if detections and context.side == "output" and self._params.allow_passages:
            quotable = {one.value.casefold() for hit in context.passages for one in _everywhere(hit.chunk.text)}
            detections = [one for one in detections if one.value.casefold() not in quotable]
        score = min(1.0, sum(detection.score for detection in detections))
        if not detections or score < self._params.threshold:
            return CheckVerdict.allow(text, score)
        worst = max(detections, key=lambda detection: detection.score).kind
        return CheckVerdict(GuardAction(self._params.action), text, score, worst, f"{len(detections)} toxic, the worst {worst}")


def _everywhere(text: str) -> list[Detection]:
    return find_everywhere(text, find_toxic, TEXT_LIMIT, OVERLAP)
