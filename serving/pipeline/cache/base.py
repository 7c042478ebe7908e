"""The contract of a cache, its entries, and the context in which an answer may be reused."""

import json
from dataclasses import dataclass
from typing import ClassVar, Protocol, Self

from serving.pipeline.index.base import Filter
from serving.pipeline.parts import Digests
from serving.pipeline.types import Answer, CacheRecord, Hit, Query, Route


@dataclass(frozen=True, slots=True)
class CacheContext:
    """Everything but the question that an answer depends on; an answer is reused in an equal context only."""

    config: str  # digest of the release, or of the configuration
    index: str
    index_version: str
    prompts: str
    where: Filter  # what the principal may see, narrowed to where the query looks: not who asks

    @classmethod
    def of(cls, query: Query, digests: Digests, index_version: str) -> Self:
        """The context of a query."""
        return cls(digests.release or digests.config, digests.index, index_version, digests.prompts, Filter.of(query))

    @property
    def key(self) -> str:
        """A text that only equal contexts share; not a digest, whose collision would show an answer to a stranger."""
        where = self.where
        domains = None if where.domains is None else sorted(where.domains)
        access = [where.tenant, sorted(where.groups), domains, sorted(where.metadata.items())]
        return json.dumps([self.config, self.index, self.index_version, self.prompts, access])


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """A cached answer with its passages and route."""

    answer: Answer
    passages: tuple[Hit, ...] = ()  # so that its citations keep their texts
    route: Route | None = None
    writer: str = ""  # id of the trace in which it was written


@dataclass(frozen=True, slots=True)
class CacheHit:
    """An entry that answers a question."""

    entry: CacheEntry
    similarity: float = 1.0  # of the two questions
    age_s: float = 0.0


@dataclass(frozen=True, slots=True)
class CacheLookup:
    """The result of a cache lookup."""

    hit: CacheHit | None = None
    nearest: float | None = None  # on a miss, the similarity of the nearest question, where the cache knows it

    @property
    def record(self) -> CacheRecord:
        """The lookup as the trace records it."""
        if self.hit is None:
            return CacheRecord(False, self.nearest)
        return CacheRecord(True, self.hit.similarity, round(self.hit.age_s, 3), self.hit.entry.writer)


class Cache(Protocol):
    """Caches answers for equivalent questions; the pipeline decides which answers are put.

    An outage of its backend is never raised: every lookup is a miss then.
    """

    stateful: ClassVar[bool]  # whether one question's answer depends on those before it

    async def get(self, query: Query, context: CacheContext) -> CacheLookup: ...

    async def put(self, query: Query, context: CacheContext, entry: CacheEntry) -> None: ...
