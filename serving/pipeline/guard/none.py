"""Lets everything pass."""

from collections.abc import Sequence
from typing import ClassVar

from serving.pipeline.registry import Params as PlugInParams
from serving.pipeline.types import GuardAction, GuardVerdict, Hit, Query


class NoGuard:
    """No check at all."""

    version: ClassVar[str] = "1"
    rewrites = False

    class Params(PlugInParams):
        """Nothing to set."""

    def __init__(self, params: Params) -> None:
        self._params = params

    async def check_input(self, query: Query) -> GuardVerdict:
        """Allow the question as it is."""
        return GuardVerdict("input", GuardAction.ALLOW, query.text)

    async def check_output(self, query: Query, text: str, passages: Sequence[Hit]) -> GuardVerdict:
        """Allow the answer as it is."""
        return GuardVerdict("output", GuardAction.ALLOW, text)
