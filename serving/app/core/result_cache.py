"""A cache for results that take long to compute."""

import asyncio
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

T = TypeVar("T")
CACHED_TIMES: Final = 10.0  # times as long as it took to compute, so that repeated requests keep a core busy a tenth of the time at most
MOST_S: Final = 300.0


@dataclass(frozen=True, slots=True)
class _Cached(Generic[T]):
    value: T
    until: float


class ResultCache(Generic[T]):
    """Computes one result at a time, in a thread, and caches it for ten times as long as that took."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = asyncio.Lock()
        self._results: dict[Hashable, _Cached[T]] = {}

    async def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """The cached result of a key, else a new one; failures are not cached."""
        async with self._lock:
            began = self._clock()
            self._results = {name: one for name, one in self._results.items() if one.until > began}
            if key in self._results:
                return self._results[key].value
            value = await asyncio.to_thread(make)
            ended = self._clock()
            self._results[key] = _Cached(value, ended + min(MOST_S, CACHED_TIMES * (ended - began)))
            return value
