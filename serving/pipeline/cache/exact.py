"""A cache of answers to the same question."""

from typing import ClassVar, Final

from serving.pipeline.cache.answers import AnswerCache, AnswerCacheParams, CacheState
from serving.pipeline.cache.audit import ShadowAudit
from serving.pipeline.cache.base import CacheContext, CacheEntry, CacheHit, CacheLookup
from serving.pipeline.parts import Parts
from serving.pipeline.types import Query

_LADDER: Final = ("exact", "off")


class ExactCache:
    """Two questions are the same when they differ in white space, Unicode form, quotes, the first capital and the last mark alone.

    Other capitals may carry meaning ("who" and "WHO").
    """

    version: ClassVar[str] = "2"
    stateful: ClassVar[bool] = True

    class Params(AnswerCacheParams):
        """How long and how many answers are cached, and which."""

    def __init__(self, params: Params, parts: Parts) -> None:
        self._answers = AnswerCache(params, parts, _LADDER, vectors=None)

    @property
    def audit(self) -> ShadowAudit:
        """What answers a sample of hits again."""
        return self._answers.audit

    async def get(self, query: Query, context: CacheContext) -> CacheLookup:
        """The answer to this very question in this very context, unless it is too old."""
        answers = self._answers
        key = answers.key(query, context)
        hit = await answers.exact(key)
        if answers.reach(key) == "off":
            return CacheLookup(reason="reach: off")
        return CacheLookup(hit) if hit else await answers.missed(key, CacheLookup(reason="new"))

    async def put(self, query: Query, context: CacheContext, entry: CacheEntry) -> None:
        """Keep an answer in place of an older one."""
        await self._answers.put(self._answers.key(query, context), query, entry, None)

    async def drop(self, query: Query, context: CacheContext, hit: CacheHit) -> None:
        """Forget an answer."""
        await self._answers.backend.drop(self._answers.key(query, context))

    async def forget_document(self, document_id: str) -> int:
        """Forget what was written from a document; how many answers that were."""
        return await self._answers.backend.clear(document=document_id)

    def state(self) -> CacheState:
        """The state of this cache."""
        return self._answers.state()

    async def aclose(self) -> None:
        """End what runs beside queries."""
        await self._answers.aclose()
