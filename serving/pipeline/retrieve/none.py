"""Leaves the order as it is."""

from collections.abc import Sequence
from typing import ClassVar

from serving.pipeline.parts import Parts
from serving.pipeline.registry import Params as PlugInParams
from serving.pipeline.types import Hit, Query


class NoReranker:
    """Keeps the searcher's order."""

    version: ClassVar[str] = "1"

    class Params(PlugInParams):
        """Nothing to set."""

    def __init__(self, params: Params, parts: Parts) -> None:
        pass

    async def rerank(self, query: Query, hits: Sequence[Hit], k: int) -> list[Hit]:
        """The first k."""
        return list(hits[:k])
