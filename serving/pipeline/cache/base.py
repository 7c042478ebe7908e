"""What a cache promises, what it keeps and under which conditions an answer may be given again."""

import json
from dataclasses import dataclass
from typing import ClassVar, Protocol, Self

from serving.pipeline.index.base import Filter
from serving.pipeline.parts import Digests
from serving.pipeline.types import Answer, CacheRecord, Hit, Query, Route


@dataclass(frozen=True, slots=True)
class CacheContext:
    """All but the question's words that an answer depends on; an answer is given again in an equal context only."""

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
        """A text that equal contexts share and no others: whole, since a digest's collision would show a stranger's answer."""
        where = self.where
        domains = None if where.domains is None else sorted(where.domains)
        access = [where.tenant, sorted(where.groups), domains, sorted(where.metadata.items())]
        return json.dumps([self.config, self.index, self.index_version, self.prompts, access])


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """An answer with what it stands on."""

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
    """What looking for an answer came to."""

    hit: CacheHit | None = None
    nearest: float | None = None  # on a miss, the similarity of the nearest question, where the cache knows it

    @property
    def record(self) -> CacheRecord:
        """What a trace tells of it."""
        if self.hit is None:
            return CacheRecord(False, self.nearest)
        return CacheRecord(True, self.hit.similarity, round(self.hit.age_s, 3), self.hit.entry.writer)


class Cache(Protocol):
    """Keeps answers for questions that mean the same; which of them are worth keeping is the pipeline's to say.

    It helps and is never needed: where what it stands on is out of reach, every question is a miss and nothing is raised.
    """

    stateful: ClassVar[bool]  # whether one question's answer depends on those before it

    async def get(self, query: Query, context: CacheContext) -> CacheLookup: ...

    async def put(self, query: Query, context: CacheContext, entry: CacheEntry) -> None: ...
