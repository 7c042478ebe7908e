"""Remembers nothing."""

from typing import ClassVar

from serving.pipeline.registry import Params as PlugInParams
from serving.pipeline.types import Answer, Query


class NoCache:
    """Every question is asked anew."""

    version: ClassVar[str] = "1"

    class Params(PlugInParams):
        """Nothing to set."""

    def __init__(self, params: Params) -> None:
        self._params = params

    async def get(self, query: Query) -> Answer | None:
        """Always a miss."""
        return None

    async def put(self, query: Query, answer: Answer) -> None:
        """Forget it at once."""
