"""Leaves a question as it was asked."""

from collections.abc import Sequence
from typing import ClassVar

from serving.pipeline.parts import Parts
from serving.pipeline.registry import Params as PlugInParams
from serving.pipeline.types import Turn


class NoRewriter:
    """Looks for a follow-up as it stands, whatever was said before."""

    version: ClassVar[str] = "1"
    turns = 0

    class Params(PlugInParams):
        """Nothing to set."""

    def __init__(self, params: Params | None = None, parts: Parts | None = None) -> None:
        pass

    def leans(self, question: str) -> bool:
        """Never."""
        return False

    async def rewrite(self, question: str, turns: Sequence[Turn]) -> str:
        """The question."""
        return question
