"""Orders to the model: flagged or blocked."""

from typing import ClassVar, Literal

from pydantic import Field

from serving.pipeline.checks.injection import digest, find_injections
from serving.pipeline.guard.base import CheckContext, CheckVerdict, Side
from serving.pipeline.parts import Parts
from serving.pipeline.registry import Params as PlugInParams
from serving.pipeline.types import GuardAction


class InjectionCheck:
    """Finds sentences that tell the model what to do; the score is that of the surest one."""

    version: ClassVar[str] = f"1 {digest()}"
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
        found = find_injections(text)
        if not found:
            return CheckVerdict.allow(text, 0.0)
        surest = max(found, key=lambda one: one.score)
        if surest.score < self._params.threshold:
            return CheckVerdict.allow(text, surest.score)
        return CheckVerdict(GuardAction(self._params.action), text, surest.score, surest.kind, f"gives an order of the kind {surest.kind}")
