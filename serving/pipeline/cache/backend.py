"""Where answers are stored: the contract of a backend."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from serving.pipeline.cache.base import CacheEntry, Flight
from serving.pipeline.cache.keys import EntryKey
from serving.pipeline.cache.vectors import Neighbour
from serving.pipeline.index.base import Vectors


@dataclass(frozen=True, slots=True)
class FoundAnswer:
    """A kept answer as it was found."""

    entry: CacheEntry
    question: str
    age_s: float


@dataclass(frozen=True, slots=True)
class JoinResult:
    """What became of waiting for another's flight: an answer, or the lead."""

    entry: CacheEntry | None
    flight: Flight = field(default_factory=Flight)


@dataclass(frozen=True, slots=True)
class CacheSize:
    """What is kept, by the digest of the configuration that it was written by."""

    entries: Mapping[str, int]
    bytes: int | None = None


class CacheBackend(Protocol):
    """Stores answers for a while; out of reach, it has none and takes none."""

    broken: int  # entries whose seal did not hold

    @property
    def errors(self) -> int:
        """Round trips that failed."""
        ...

    async def read(self, key: EntryKey) -> FoundAnswer | None:
        """The answer under a key."""
        ...

    async def near(self, key: EntryKey, vector: Vectors, count: int) -> Sequence[Neighbour]:
        """The nearest questions in a key's scope, by their names."""
        ...

    async def write(self, key: EntryKey, question: str, entry: CacheEntry, vector: Vectors | None) -> None: ...

    async def drop(self, key: EntryKey) -> None: ...

    async def join(self, key: EntryKey, wait_s: float) -> JoinResult:
        """Lead in answering a question, or wait for whoever leads, and then take the lead if no answer was shared."""
        ...

    async def audited(self, release: str, name: str, disagreed: bool) -> tuple[int, int]:
        """Count an audit under a name; how many there were, and how many of them disagreed."""
        ...

    def reach(self, release: str) -> int:
        """How often the reach of a configuration's cache was lowered."""
        ...

    async def lower(self, release: str, reach: int) -> None:
        """Lower the reach by one step from where it was, unless somebody did."""
        ...

    async def clear(self, *, document: str = "", release: str = "") -> int:
        """Forget all, what was written from a document, or by a configuration; how many entries that were."""
        ...

    async def size(self) -> CacheSize: ...

    async def aclose(self) -> None: ...
