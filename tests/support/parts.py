"""What plug-ins are built with, for tests: only what the test is about."""

from typing import Any, ClassVar

from serving.pipeline.guard.base import CheckContext, CheckVerdict, Side
from serving.pipeline.parts import Parts
from serving.pipeline.registry import Params as PlugInParams
from serving.pipeline.settings import PipelineSettings
from serving.pipeline.types import GuardAction


def some_parts(**given: Any) -> Parts:
    """Parts with the settings of no environment; whatever was not given says so when it is used."""
    return Parts(**{"settings": PipelineSettings(_env_file=None), **given})


class ForbidWord:
    """A check that blocks every text with a word."""

    version: ClassVar[str] = "1"
    sides: ClassVar[tuple[Side, ...]] = ("input", "output")
    rewrites = False
    blocks = True

    class Params(PlugInParams):
        """Which word."""

        word: str

    def __init__(self, params: Params, parts: Parts) -> None:
        self._word = params.word

    async def check(self, text: str, context: CheckContext) -> CheckVerdict:
        return CheckVerdict(GuardAction.BLOCK, text, rule="word") if self._word in text else CheckVerdict.allow(text)
