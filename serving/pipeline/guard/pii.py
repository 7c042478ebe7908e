"""Personal data: flagged, masked or blocked."""

import re
from typing import ClassVar, Literal

from pydantic import Field

from serving.pipeline.checks.detection import masked
from serving.pipeline.checks.pii import KINDS, TEXT_LIMIT, PiiKind, find_pii
from serving.pipeline.guard.base import CheckContext, CheckVerdict, Side
from serving.pipeline.guard.windows import find_everywhere
from serving.pipeline.models.threads import run_in_thread
from serving.pipeline.parts import Parts
from serving.pipeline.registry import Params as PlugInParams
from serving.pipeline.types import GuardAction

OVERLAP = 200  # characters that two windows of a long text share, so that none of the data is cut in two


class PiiCheck:
    """Finds personal data; in an answer, what the question itself holds may be said again. The reason names kinds, never values."""

    version: ClassVar[str] = "1"
    sides: ClassVar[tuple[Side, ...]] = ("input", "output")

    class Params(PlugInParams):
        """What counts, and what is done about it."""

        action: Literal["flag", "mask", "block"] = "mask"
        kinds: tuple[PiiKind, ...] = Field(default=KINDS, min_length=1)
        allow_passages: bool = Field(default=False, description="what stands in the passages may be said")

    def __init__(self, params: Params, parts: Parts) -> None:
        self._params = params
        self.rewrites = params.action == "mask"
        self.blocks = params.action == "block"

    async def check(self, text: str, context: CheckContext) -> CheckVerdict:
        """Whether there is any, and the text without it."""
        allowed = self._allowed(context)
        everywhere = await run_in_thread(
            lambda: find_everywhere(text, lambda window: find_pii(window, self._params.kinds), TEXT_LIMIT, OVERLAP)
        )
        detections = [detection for detection in everywhere if _letters_and_digits(detection.value) not in allowed]
        if not detections:
            return CheckVerdict.allow(text, 0.0)
        kinds = ", ".join(dict.fromkeys(detection.kind for detection in detections))
        action, score = GuardAction(self._params.action), max(detection.score for detection in detections)
        output = masked(text, detections) if action is GuardAction.MASK else text
        return CheckVerdict(action, output, score, kinds, f"shows {kinds}")

    def _allowed(self, context: CheckContext) -> str:
        """The letters and digits of all text whose data is allowed; nothing at the input."""
        if context.side == "input":
            return ""
        passages = [hit.chunk.text for hit in context.passages] if self._params.allow_passages else []
        return _letters_and_digits(" ".join([context.query.text, *passages]))


def _letters_and_digits(text: str) -> str:
    """A number is the same with other spaces."""
    return re.sub(r"[\W_]+", "", text.casefold())
