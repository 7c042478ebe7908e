"""Lets everything pass."""

from typing import ClassVar

from serving.pipeline.guard.base import CheckContext, CheckVerdict, Side
from serving.pipeline.parts import Parts
from serving.pipeline.registry import Params as PlugInParams


class NoCheck:
    """No check at all: a place in the configuration where a sweep may put one."""

    version: ClassVar[str] = "1"
    sides: ClassVar[tuple[Side, ...]] = ("input", "output")
    rewrites = False
    blocks = False

    class Params(PlugInParams):
        """Nothing to set."""

    def __init__(self, params: Params, parts: Parts) -> None:
        pass

    async def check(self, text: str, context: CheckContext) -> CheckVerdict:
        """Allow the text as it is."""
        return CheckVerdict.allow(text)
