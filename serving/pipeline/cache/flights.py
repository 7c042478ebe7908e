"""Single flight: of equal concurrent questions one is answered, and the others wait for its answer."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from serving.pipeline.cache.backend import JoinResult
from serving.pipeline.cache.base import CacheEntry, Flight
from serving.pipeline.cache.keys import EntryKey

_Shared = asyncio.Future[CacheEntry | None]


class LedFlight(Flight):
    """A flight of this process. One that is forgotten ends with its last reference."""

    def __init__(self, shared: _Shared, done: Callable[[], None]) -> None:
        self._shared = shared
        self._done = done

    async def share(self, entry: CacheEntry) -> None:
        """Give an answer to those who wait."""
        self._land(entry)

    def end(self) -> None:
        """Let the next one lead, unless an answer was shared."""
        self._land(None)

    def _land(self, entry: CacheEntry | None) -> None:
        if not self._shared.done():
            self._done()
            with suppress(RuntimeError):  # its loop was closed, and nobody waits in it
                self._shared.set_result(entry)

    def __del__(self) -> None:
        self.end()


class Flights:
    """The flights of one process. An error is never shared: the next of those who wait leads, and who waited too long goes alone."""

    def __init__(self) -> None:
        self._shared: dict[EntryKey, _Shared] = {}

    async def join(self, key: EntryKey, wait_s: float) -> JoinResult:
        """The lead in a flight, or the answer that another flight shared."""
        loop = asyncio.get_running_loop()
        until = loop.time() + wait_s
        while (shared := self._shared.get(key)) is not None and not shared.get_loop().is_closed():
            remaining = until - loop.time()
            if remaining <= 0 or shared.get_loop() is not loop:
                return JoinResult(None)
            done, _ = await asyncio.wait([shared], timeout=remaining)
            if not done:
                return JoinResult(None)
            if (entry := shared.result()) is not None:
                return JoinResult(entry)
        mine = self._shared[key] = loop.create_future()
        return JoinResult(None, LedFlight(mine, lambda: self._leave(key, mine)))

    def _leave(self, key: EntryKey, shared: _Shared) -> None:
        if self._shared.get(key) is shared:
            del self._shared[key]
