"""The base of our answer caches: exact look-ups, single flight, put and drop."""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol, runtime_checkable

from pydantic import Field

from serving.pipeline.cache.audit import AuditPolicy, ShadowAudit
from serving.pipeline.cache.backend import CacheBackend
from serving.pipeline.cache.base import CacheContext, CacheEntry, CacheHit, CacheLookup
from serving.pipeline.cache.keys import CacheKeys, EntryKey
from serving.pipeline.cache.open import open_backend
from serving.pipeline.index.base import Vectors
from serving.pipeline.models.question_vector import QuestionVectors
from serving.pipeline.parts import Parts
from serving.pipeline.registry import Params as PlugInParams
from serving.pipeline.types import Query

WAIT_S: Final = 30.0  # for another's answer to the same question; then one goes alone


class AnswerCacheParams(PlugInParams):
    """How long and how many answers are cached, and which."""

    ttl_s: float = Field(default=3600.0, gt=0.0, description="seconds after which an answer is written anew")
    max_entries: int = Field(default=1000, ge=1, le=1_000_000, description="the least recently used are forgotten first")
    least_confidence: float = Field(default=0.5, ge=0.0, le=1.0, description="an answer that a check is less sure of is not kept")
    tolerated: float = Field(
        default=0.2,
        gt=0.0,
        lt=1.0,
        description="share of audited hits that may disagree with a fresh answer before the cache reaches less far",
    )


@dataclass(frozen=True, slots=True)
class CacheState:
    """The state that a cache reports."""

    reach: str
    agreed: int
    disagreed: int
    unjudged: int
    errors: int  # of the backend
    broken: int  # entries whose seal did not hold


@runtime_checkable
class ReportsState(Protocol):
    """A cache whose state can be shown as metrics."""

    def state(self) -> CacheState: ...


@runtime_checkable
class ForgetsDocuments(Protocol):
    """A cache that can forget what was written from a document."""

    async def forget_document(self, document_id: str) -> int: ...


class AnswerCache:
    """Answers under keyed names in a backend; a subclass defines which questions are alike."""

    def __init__(self, params: AnswerCacheParams, parts: Parts, ladder: Sequence[str], *, vectors: QuestionVectors | None) -> None:
        opened = open_backend(parts.settings, parts.clock, ttl_s=params.ttl_s, max_entries=params.max_entries)
        self.backend: CacheBackend = opened.backend
        self._keys: CacheKeys = opened.keys
        self._least_confidence = params.least_confidence
        self._ladder = ladder
        settings = parts.settings
        self.audit = ShadowAudit(
            self.backend,
            parts.digests.config,
            ladder,
            AuditPolicy(settings.cache_audit, settings.cache_audits_per_hour, params.tolerated),
            vectors=vectors,
            chance=random.Random().random,  # noqa: S311  # which hits are audited is no secret
            seconds=parts.clock.seconds,
        )

    def key(self, query: Query, context: CacheContext) -> EntryKey:
        """The key of a question's answer."""
        return self.key_of(query.text, context)

    def key_of(self, question: str, context: CacheContext) -> EntryKey:
        """The same of a question's text."""
        return self._keys.entry(context, question)

    async def exact(self, key: EntryKey) -> CacheHit | None:
        """The answer to this very question."""
        found = await self.backend.read(key)
        return None if found is None else CacheHit(found.entry, 1.0, found.age_s, "exact", found.question)

    async def missed(self, key: EntryKey, lookup: CacheLookup) -> CacheLookup:
        """A miss that holds the lead in answering, or the answer that another leader shared."""
        joined = await self.backend.join(key, WAIT_S)
        if joined.entry is not None:
            return CacheLookup(CacheHit(joined.entry, 1.0, 0.0, "shared"))
        try:
            again = await self.exact(key)  # kept between the look-up and taking the lead
        except BaseException:  # cancelled
            joined.flight.end()
            raise
        if again is not None:
            joined.flight.end()
            return CacheLookup(again)
        return CacheLookup(None, lookup.nearest, lookup.reason, joined.flight)

    async def put(self, key: EntryKey, query: Query, entry: CacheEntry, vector: Vectors | None) -> None:
        """Keep an answer, if it is sure enough."""
        confidence = entry.answer.confidence
        if confidence is None or confidence >= self._least_confidence:
            await self.backend.write(key, query.text, entry, vector)

    def reach(self, key: EntryKey) -> str:
        """How far the cache reaches for a configuration."""
        step = self.backend.reach(key.release)
        return self._ladder[min(step, len(self._ladder) - 1)]

    def state(self) -> CacheState:
        """The state of this cache."""
        counts = self.audit.counts
        return CacheState(self.audit.reach(), counts.agreed, counts.disagreed, counts.unjudged, self.backend.errors, self.backend.broken)

    async def aclose(self) -> None:
        """End what runs beside queries."""
        await asyncio.gather(self.audit.aclose(), self.backend.aclose())
