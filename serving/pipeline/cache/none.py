"""No cache."""

from typing import ClassVar

from serving.pipeline.cache.base import CacheContext, CacheEntry, CacheHit, CacheLookup
from serving.pipeline.parts import Parts
from serving.pipeline.registry import Params as PlugInParams
from serving.pipeline.types import Query


class NoCache:
    """Caches nothing."""

    version: ClassVar[str] = "1"
    stateful: ClassVar[bool] = False

    class Params(PlugInParams):
        """Nothing to set."""

    def __init__(self, params: Params, parts: Parts) -> None:
        pass

    async def get(self, query: Query, context: CacheContext) -> CacheLookup:
        """Always a miss."""
        return CacheLookup()

    async def put(self, query: Query, context: CacheContext, entry: CacheEntry) -> None:
        """Do nothing."""

    async def drop(self, query: Query, context: CacheContext, hit: CacheHit) -> None:
        """Do nothing."""
