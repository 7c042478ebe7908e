"""The contract of a cache, its entries, and the context in which an answer may be reused."""

import json
from dataclasses import dataclass, field
from types import TracebackType
from typing import ClassVar, Literal, Protocol, Self, runtime_checkable

from serving.pipeline.index.base import Filter
from serving.pipeline.parts import Digests
from serving.pipeline.types import Answer, CacheRecord, Hit, Query, Route, Turn

HitKind = Literal["exact", "semantic", "shared"]


@dataclass(frozen=True, slots=True)
class CacheContext:
    """Everything but the question that an answer depends on; an answer is reused in an equal context only."""

    config: str  # digest of the configuration: the models with their parameters, the guards and the versions of all of them
    release: str
    index: str
    index_version: str
    prompts: str
    where: Filter  # what the principal may see, narrowed to where the query looks: not who asks
    language: str = ""
    history: tuple[Turn, ...] = ()

    @classmethod
    def of(cls, query: Query, digests: Digests, index_version: str) -> Self:
        """The context of a query."""
        return cls(
            config=digests.config,
            release=digests.release,
            index=digests.index,
            index_version=index_version,
            prompts=digests.prompts,
            where=Filter.of(query),
            language=query.language,
            history=query.history,
        )

    @property
    def key(self) -> str:
        """A text that only equal contexts share."""
        where = self.where
        domains = None if where.domains is None else sorted(where.domains)
        access = [where.tenant, where.groups_in_full, domains, sorted(where.metadata.items()), where.everything]
        conversation = [self.language, [turn.texts for turn in self.history]]
        return json.dumps([self.config, self.release, self.index, self.index_version, self.prompts, access, conversation])


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """A cached answer with its passages and route."""

    answer: Answer
    passages: tuple[Hit, ...] = ()  # so that its citations keep their texts
    route: Route | None = None
    writer: str = ""  # id of the trace in which it was written

    @property
    def documents(self) -> frozenset[str]:
        """The documents that it was written from."""
        return frozenset(hit.chunk.document_id for hit in self.passages)


@dataclass(frozen=True, slots=True)
class CacheHit:
    """An entry that answers a question."""

    entry: CacheEntry
    similarity: float = 1.0  # of the two questions
    age_s: float = 0.0
    kind: HitKind = "exact"
    question: str = ""  # the one that it was written for


class Flight:
    """The lead in answering a question that others may wait for; this base class is for a cache without waiting.

    The leader either shares an entry or ends the flight without one; then the next waiting question leads.
    """

    async def share(self, entry: CacheEntry) -> None:
        """Share the answer with the waiting questions."""

    def end(self) -> None:
        """Let the next waiting question lead, unless an answer was shared."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.end()


@dataclass(frozen=True, slots=True)
class CacheLookup:
    """The result of a cache lookup."""

    hit: CacheHit | None = None
    nearest: float | None = None  # on a miss, the similarity of the nearest question, where the cache knows it
    reason: str = ""  # on a miss: a word of `MISS_REASONS`, and after a colon what more there is to say
    flight: Flight = field(default_factory=Flight, compare=False)  # on a miss: to be ended

    @property
    def record(self) -> CacheRecord:
        """The lookup as the trace records it."""
        if self.hit is None:
            return CacheRecord(False, self.nearest, reason=self.reason)
        hit = self.hit
        return CacheRecord(True, hit.similarity, round(hit.age_s, 3), hit.entry.writer, hit.kind)


MISS_REASONS = {
    "new": "no question like it is kept",
    "far": "the nearest question is less alike than the threshold",
    "guard": "a guard says that the nearest question is another",
    "verifier": "the verifier takes the nearest question for another",
    "changed": "what the kept answer was written from is gone, changed or not readable any more",
    "history": "the question leans on what was said before",
    "masked": "something in the question was masked",
    "flagged": "a check of the question did not let it pass plainly",
    "reach": "the cache does not reach so far after disagreements",
    "bypass": "the cache was not to be asked",
}


class Cache(Protocol):
    """Caches answers for equivalent questions; the pipeline decides which answers are put.

    An outage of its backend is never raised: every lookup is a miss then.
    """

    stateful: ClassVar[bool]  # whether one question's answer depends on those before it

    async def get(self, query: Query, context: CacheContext) -> CacheLookup: ...

    async def put(self, query: Query, context: CacheContext, entry: CacheEntry) -> None: ...

    async def drop(self, query: Query, context: CacheContext, hit: CacheHit) -> None:
        """Forget a hit's entry, which is not to be given again."""
        ...


@runtime_checkable
class Closable(Protocol):
    """A cache that holds connections."""

    async def aclose(self) -> None: ...
