"""Insults, profanity and threats: flagged or blocked."""

from typing import ClassVar, Literal

from pydantic import Field

from serving.pipeline.checks.toxicity import MOST, digest, find_toxic
from serving.pipeline.guard.base import CheckContext, CheckVerdict, Side
from serving.pipeline.guard.windows import find_everywhere
from serving.pipeline.parts import Parts
from serving.pipeline.registry import Params as PlugInParams
from serving.pipeline.types import GuardAction

OVERLAP = 100  # characters that two windows of a long text share, so that nothing is cut in two unseen


class ToxicityCheck:
    """Adds up the weights of the toxic words of a text, at most 1. The reason names severities, never words."""

    version: ClassVar[str] = f"2 {digest()}"
    sides: ClassVar[tuple[Side, ...]] = ("input", "output")
    rewrites = False

    class Params(PlugInParams):
        """From where on, and what is done about it."""

        action: Literal["flag", "block"] = "block"
        threshold: float = Field(default=0.5, gt=0.0, le=1.0, description="0.25: a mild word; 0.5: a strong one; 1: a severe one")

    def __init__(self, params: Params, parts: Parts) -> None:
        self._params = params
        self.blocks = params.action == "block"

    async def check(self, text: str, context: CheckContext) -> CheckVerdict:
        """How bad, and of which severity."""
        found = find_everywhere(text, find_toxic, MOST, OVERLAP)
        score = min(1.0, sum(one.score for one in found))
        if score < self._params.threshold:
            return CheckVerdict.allow(text, score)
        worst = max(found, key=lambda one: one.score).kind
        return CheckVerdict(GuardAction(self._params.action), text, score, worst, f"{len(found)} toxic, the worst {worst}")
