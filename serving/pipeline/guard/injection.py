"""Orders to the model: flagged or blocked."""

from typing import ClassVar, Literal

from pydantic import Field

from serving.pipeline.checks.detection import Detection
from serving.pipeline.checks.injection import LONGEST, MOST, digest, find_injections
from serving.pipeline.guard.base import CheckContext, CheckVerdict, Side
from serving.pipeline.guard.windows import find_everywhere, windows
from serving.pipeline.parts import Parts
from serving.pipeline.registry import Params as PlugInParams
from serving.pipeline.types import GuardAction

WITHIN = "x "  # before what is not the beginning of a sentence, where orders are told by their first word


class InjectionCheck:
    """Finds sentences that tell the model what to do; the score is that of the surest one."""

    version: ClassVar[str] = f"2 {digest()}"
    sides: ClassVar[tuple[Side, ...]] = ("input", "output")
    rewrites = False

    class Params(PlugInParams):
        """From where on, and what is done about it."""

        action: Literal["flag", "block"] = "block"
        threshold: float = Field(default=0.5, ge=0.0, le=1.0, description="0.5: one pattern is enough; 0.75: two")

    def __init__(self, params: Params, parts: Parts) -> None:
        self._params = params
        self.blocks = params.action == "block"

    async def check(self, text: str, context: CheckContext) -> CheckVerdict:
        """Whether the text gives orders."""
        found = _find_everywhere(text)
        if not found:
            return CheckVerdict.allow(text, 0.0)
        surest = max(found, key=lambda one: one.score)
        if surest.score < self._params.threshold:
            return CheckVerdict.allow(text, surest.score)
        return CheckVerdict(GuardAction(self._params.action), text, surest.score, surest.kind, f"gives an order of the kind {surest.kind}")


def _find_everywhere(text: str) -> list[Detection]:
    """What the detector finds in a text of any length, also behind the characters of a sentence that it looks at."""
    found = find_everywhere(text, find_injections, MOST, LONGEST)
    for line in text.split("\n"):
        pieces = [piece for start, piece in windows(line, LONGEST - len(WITHIN), LONGEST // 2) if start]
        found += [one for piece in pieces for one in find_injections(WITHIN + piece)]
    return found
