"""Harmful content: flagged or blocked, with a strength for each category as Bedrock has them."""

from collections.abc import Mapping
from typing import ClassVar, Final, Literal

from pydantic import Field

from serving.pipeline.checks.content import CONFIDENCE, TEXT_LIMIT, find_content, phrases_digest
from serving.pipeline.guard.base import CheckContext, CheckVerdict, Side
from serving.pipeline.guard.excerpt import redacted_excerpt
from serving.pipeline.guard.windows import find_in_thread
from serving.pipeline.parts import Parts
from serving.pipeline.registry import Params as PlugInParams
from serving.pipeline.types import GuardAction

Strength = Literal["NONE", "LOW", "MEDIUM", "HIGH"]
LEAST: Final[Mapping[Strength, float]] = {"NONE": 1.1, "LOW": CONFIDENCE["high"], "MEDIUM": CONFIDENCE["medium"], "HIGH": CONFIDENCE["low"]}
OVERLAP: Final = 200  # characters that two windows of a long text share, so that no phrase is cut in two


class ContentCheck:
    """Finds phrases of harmful content; the score is how sure the surest one is that a filter stops. The reason names categories only.

    It finds explicit English phrases only: no irony, allusion or other languages. The check `bedrock` covers more.
    """

    version: ClassVar[str] = f"1 {phrases_digest()}"
    sides: ClassVar[tuple[Side, ...]] = ("input", "output")
    rewrites = False

    class Params(PlugInParams):
        """How strong each filter is: HIGH stops whatever looks like it, LOW what leaves no doubt, NONE nothing."""

        action: Literal["flag", "block"] = "block"
        hate: Strength = "HIGH"
        insults: Strength = "HIGH"
        sexual: Strength = "HIGH"
        violence: Strength = "MEDIUM"
        misconduct: Strength = "MEDIUM"
        domains: tuple[str, ...] = Field(default=(), description="only for questions that may look there; empty: always")

    def __init__(self, params: Params, parts: Parts) -> None:
        self._params = params
        self.domains = params.domains
        self.blocks = params.action == "block"
        find_content("")  # compiles the phrases

    async def check(self, text: str, context: CheckContext) -> CheckVerdict:
        """Whether a filter stops the text."""
        detections = [one for one in await find_in_thread(text, find_content, TEXT_LIMIT, OVERLAP) if one.score >= self._least(one.kind)]
        if not detections:
            return CheckVerdict.allow(text, 0.0)
        worst = max(detections, key=lambda one: one.score)
        kinds = ", ".join(dict.fromkeys(one.kind for one in detections))
        excerpt = redacted_excerpt(text, worst.start, worst.end)
        return CheckVerdict(GuardAction(self._params.action), text, worst.score, worst.kind, f"looks like {kinds}", excerpt=excerpt)

    def _least(self, category: str) -> float:
        strengths: Mapping[str, Strength] = {
            "HATE": self._params.hate,
            "INSULTS": self._params.insults,
            "SEXUAL": self._params.sexual,
            "VIOLENCE": self._params.violence,
            "MISCONDUCT": self._params.misconduct,
        }
        return LEAST[strengths[category]]
