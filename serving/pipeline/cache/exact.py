"""An in-process cache of answers to identical questions."""

import unicodedata
from collections import OrderedDict
from dataclasses import dataclass
from typing import ClassVar

from pydantic import Field

from serving.pipeline.cache.base import CacheContext, CacheEntry, CacheHit, CacheLookup
from serving.pipeline.parts import Parts
from serving.pipeline.registry import Params as PlugInParams
from serving.pipeline.types import Query


@dataclass(frozen=True, slots=True)
class _StoredEntry:
    entry: CacheEntry
    at_s: float


class ExactCache:
    """Two questions are the same when they differ in white space and Unicode form alone; case may carry meaning ("who" and "WHO")."""

    version: ClassVar[str] = "1"
    stateful: ClassVar[bool] = True

    class Params(PlugInParams):
        """How long and how much is kept."""

        ttl_s: float = Field(default=3600.0, gt=0.0, description="seconds after which an answer is written anew")
        max_entries: int = Field(default=1000, ge=1, le=1_000_000, description="the least recently used are forgotten first")

    def __init__(self, params: Params, parts: Parts) -> None:
        self._params = params
        self._seconds = parts.clock.seconds
        self._entries: OrderedDict[tuple[str, str], _StoredEntry] = OrderedDict()

    async def get(self, query: Query, context: CacheContext) -> CacheLookup:
        """The answer to this very question in this very context, unless it is too old."""
        key = _key(query, context)
        stored = self._entries.get(key)
        if stored is None:
            return CacheLookup()
        age_s = self._seconds() - stored.at_s
        if age_s >= self._params.ttl_s:
            del self._entries[key]
            return CacheLookup()
        self._entries.move_to_end(key)
        return CacheLookup(CacheHit(stored.entry, 1.0, age_s))

    async def put(self, query: Query, context: CacheContext, entry: CacheEntry) -> None:
        """Keep an answer in place of an older one."""
        key = _key(query, context)
        self._entries[key] = _StoredEntry(entry, self._seconds())
        self._entries.move_to_end(key)
        while len(self._entries) > self._params.max_entries:
            self._entries.popitem(last=False)


def _key(query: Query, context: CacheContext) -> tuple[str, str]:
    return " ".join(unicodedata.normalize("NFC", query.text).split()), context.key
