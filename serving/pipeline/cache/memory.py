"""Answers stored in this process."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from serving.pipeline.cache.backend import CacheSize, FoundAnswer, JoinResult
from serving.pipeline.cache.base import CacheEntry
from serving.pipeline.cache.flights import Flights
from serving.pipeline.cache.keys import EntryKey
from serving.pipeline.cache.vectors import Neighbour, VectorTable
from serving.pipeline.index.base import Vectors


@dataclass(frozen=True, slots=True)
class _Stored:
    entry: CacheEntry
    question: str
    at_s: float


class MemoryBackend:
    """The least recently used answers are forgotten first; all of them when the process ends."""

    def __init__(self, seconds: Callable[[], float], *, ttl_s: float, max_entries: int) -> None:
        self._seconds = seconds
        self._ttl_s = ttl_s
        self._max_entries = max_entries
        self._entries: OrderedDict[EntryKey, _Stored] = OrderedDict()
        self._vectors: dict[tuple[str, str], VectorTable] = {}  # by configuration and scope
        self._flights = Flights()
        self._audits: dict[tuple[str, str], tuple[int, int]] = {}
        self._reach: dict[str, int] = {}
        self.broken = self.errors = 0  # nothing leaves this process

    async def read(self, key: EntryKey) -> FoundAnswer | None:
        """The answer under a key, unless it is too old."""
        stored = self._entries.get(key)
        if stored is None:
            return None
        age_s = self._seconds() - stored.at_s
        if age_s >= self._ttl_s:
            self._forget(key)
            return None
        self._entries.move_to_end(key)
        return FoundAnswer(stored.entry, stored.question, age_s)

    async def near(self, key: EntryKey, vector: Vectors, count: int) -> Sequence[Neighbour]:
        """The nearest questions in a key's scope."""
        table = self._vectors.get((key.release, key.scope))
        return table.nearest(vector, count) if table else []

    async def write(self, key: EntryKey, question: str, entry: CacheEntry, vector: Vectors | None) -> None:
        """Keep an answer in place of an older one."""
        self._forget(key)
        self._entries[key] = _Stored(entry, question, self._seconds())
        if vector is not None:
            table = self._vectors.get((key.release, key.scope))
            if table is None or table.dimensions != len(vector):
                table = self._vectors[key.release, key.scope] = VectorTable(len(vector))
            table.add(key.question, vector)
        while len(self._entries) > self._max_entries:
            self._forget(next(iter(self._entries)))

    async def drop(self, key: EntryKey) -> None:
        """Forget an answer."""
        self._forget(key)

    async def join(self, key: EntryKey, wait_s: float) -> JoinResult:
        """Lead in answering a question, or wait for whoever leads."""
        return await self._flights.join(key, wait_s)

    async def audited(self, release: str, name: str, disagreed: bool) -> tuple[int, int]:
        """Count an audit under a name."""
        count, disagreements = self._audits.get((release, name), (0, 0))
        self._audits[release, name] = counted = count + 1, disagreements + disagreed
        return counted

    def reach(self, release: str) -> int:
        """How often the reach was lowered."""
        return self._reach.get(release, 0)

    async def lower(self, release: str, reach: int) -> None:
        """Lower the reach by one step from where it was."""
        self._reach[release] = max(self._reach.get(release, 0), reach + 1)

    async def clear(self, *, document: str = "", release: str = "") -> int:
        """Forget all, what was written from a document, or by a configuration."""
        chosen = [
            key
            for key, stored in self._entries.items()
            if (not document or document in stored.entry.documents) and (not release or key.release == release)
        ]
        for key in chosen:
            self._forget(key)
        return len(chosen)

    async def size(self) -> CacheSize:
        """How many answers are kept."""
        counts: dict[str, int] = {}
        for key in self._entries:
            counts[key.release] = counts.get(key.release, 0) + 1
        return CacheSize(counts)

    async def aclose(self) -> None:
        """Nothing is open."""

    def _forget(self, key: EntryKey) -> None:
        if self._entries.pop(key, None) is None:
            return
        table = self._vectors.get((key.release, key.scope))
        if table is not None:
            table.drop(key.question)
            if not len(table):
                del self._vectors[key.release, key.scope]
