"""Texts that are too long: flagged or blocked, before anything looks at them."""

from typing import ClassVar, Literal

from pydantic import Field

from serving.pipeline.answer.pack import estimate_tokens
from serving.pipeline.guard.base import CheckContext, CheckVerdict, Side
from serving.pipeline.parts import Parts
from serving.pipeline.registry import Params as PlugInParams
from serving.pipeline.types import GuardAction


class SizeCheck:
    """Counts characters and, of a text that has no more than those, tokens; the score is the share of the bound that is used, at most 1."""

    version: ClassVar[str] = "1"
    sides: ClassVar[tuple[Side, ...]] = ("input", "output")
    rewrites = False

    class Params(PlugInParams):
        """How long a text may be, and what is done about longer ones."""

        action: Literal["flag", "block"] = "block"
        max_characters: int = Field(default=4000, ge=1)
        max_tokens: int = Field(default=1000, ge=1, description="estimated")
        domains: tuple[str, ...] = Field(default=(), description="only for questions that may look there; empty: always")

    def __init__(self, params: Params, parts: Parts) -> None:
        self._params = params
        self.domains = params.domains
        self.blocks = params.action == "block"

    async def check(self, text: str, context: CheckContext) -> CheckVerdict:
        """Whether the text is short enough."""
        limits = self._params
        if len(text) > limits.max_characters:
            reason = f"has {len(text)} characters; at most {limits.max_characters} are allowed"
            return CheckVerdict(GuardAction(limits.action), _beginning(text, limits.max_characters), 1.0, "characters", reason)
        tokens = estimate_tokens(text)
        if tokens > limits.max_tokens:
            reason = f"has about {tokens} tokens; at most {limits.max_tokens} are allowed"
            return CheckVerdict(GuardAction(limits.action), text, 1.0, "tokens", reason)
        return CheckVerdict.allow(text, min(1.0, max(len(text) / limits.max_characters, tokens / limits.max_tokens)))


def _beginning(text: str, most: int) -> str:
    """The part of a text that is too long that may be stored."""
    return text if len(text) <= most else f"{text[:most]}…"
