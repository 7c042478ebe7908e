"""Flights across processes: who holds a lease on Redis leads; a dead leader's lease runs out."""

import asyncio
import secrets
from collections.abc import Callable, Coroutine
from typing import Any, Final

from serving.pipeline.cache.backend import JoinResult
from serving.pipeline.cache.base import CacheEntry, Flight
from serving.pipeline.cache.flights import Flights
from serving.pipeline.cache.keys import CacheKeys, EntryKey
from serving.pipeline.cache.redis_link import RedisLink
from serving.pipeline.cache.seal import BrokenSeal, StoredAnswer, opened, sealed

LEASE_MS: Final = 4000  # renewed while the leader works
_RENEWALS: Final = 300  # at most: some minutes, longer than any question may take
_SHARED_MS: Final = 5000  # how long those who wait may come for the answer
_POLL_S: Final = (0.01, 0.02, 0.04, 0.08)  # pauses between looks; the last one from then on
_RENEW: Final = "if redis.call('get',KEYS[1])==ARGV[1] then return redis.call('pexpire',KEYS[1],ARGV[2]) end return 0"
_RELEASE: Final = "if redis.call('get',KEYS[1])==ARGV[1] then return redis.call('del',KEYS[1]) end return 0"

Start = Callable[[Coroutine[Any, Any, Any]], "asyncio.Task[Any]"]


class LeasedFlight(Flight):
    """A flight that leads all processes."""

    def __init__(self, local: Flight, lease: str, token: str, redis: RedisLink, publish: Callable[[CacheEntry], Any], start: Start) -> None:
        self._local = local
        self._lease = lease
        self._token = token
        self._redis = redis
        self._publish = publish
        self._start = start
        self._over = False
        self._renewal = start(_renew(redis, lease, token))

    async def share(self, entry: CacheEntry) -> None:
        """Give an answer to those who wait, here and elsewhere."""
        if self._over:
            return
        self._over = True
        self._renewal.cancel()
        try:
            await self._publish(entry)
        finally:
            await self._local.share(entry)
            self._start(_release(self._redis, self._lease, self._token))

    def end(self) -> None:
        """Let the next one lead, unless an answer was shared."""
        if not self._over:
            self._over = True
            self._renewal.cancel()
            self._local.end()
            self._start(_release(self._redis, self._lease, self._token))


class RedisFlights:
    """Flights of this process, whose leader leads the other processes too or waits for theirs."""

    def __init__(self, redis: RedisLink, keys: CacheKeys, prefix: str, clock: Callable[[], float], start: Start) -> None:
        self._redis = redis
        self._keys = keys
        self._prefix = prefix
        self._clock = clock
        self._start = start
        self._local = Flights()

    async def join(self, key: EntryKey, wait_s: float) -> JoinResult:
        """The lead of all processes, or the answer that another flight shared; without Redis, the lead of this process."""
        loop = asyncio.get_running_loop()
        until = loop.time() + wait_s
        joined = await self._local.join(key, wait_s)
        if joined.entry is not None or type(joined.flight) is Flight:
            return joined
        lease = f"{self._prefix}:f:{key.question}"
        try:
            while True:
                token = secrets.token_hex(16)
                holder = await self._holder(lease, token)
                if holder == token:
                    return JoinResult(None, LeasedFlight(joined.flight, lease, token, self._redis, self._publisher(token), self._start))
                entry = await self._awaited(lease, holder, until) if holder else None
                if entry is not None:
                    await joined.flight.share(entry)
                    return JoinResult(entry)
                if not holder or loop.time() >= until:
                    return joined
        except BaseException:  # cancelled: the next of this process leads
            joined.flight.end()
            raise

    async def _holder(self, lease: str, token: str) -> str | None:
        """Who holds a lease, this one if nobody did; nobody knows without Redis."""

        async def claim(client: Any) -> Any:
            pipe = client.pipeline(transaction=True)
            pipe.set(lease, token, nx=True, px=LEASE_MS)
            pipe.get(lease)
            return await pipe.execute()

        found = await self._redis.run(claim)
        return bytes(found[1]).decode(errors="replace") if found and found[1] else None

    async def _awaited(self, lease: str, holder: str, until: float) -> CacheEntry | None:
        """What the holder of a lease shares; none where it gives up, dies or takes too long."""
        loop, place = asyncio.get_running_loop(), self._place(holder)
        for look in range(1_000_000):
            # the result first: its leader writes it before it lets go of the lease
            found = await self._redis.run(lambda client: client.mget(place, lease))
            if not found:
                return None
            if found[0]:
                try:
                    return opened(found[0], place, self._keys).entry
                except BrokenSeal:
                    return None
            if not found[1] or bytes(found[1]).decode(errors="replace") != holder or loop.time() >= until:
                return None
            await asyncio.sleep(_POLL_S[min(look, len(_POLL_S) - 1)])
        return None

    def _publisher(self, token: str) -> Callable[[CacheEntry], Any]:
        async def publish(entry: CacheEntry) -> None:
            data = sealed(StoredAnswer(entry, "", self._clock()), self._place(token), self._keys)
            if data is not None:
                await self._redis.run(lambda client: client.set(self._place(token), data, px=_SHARED_MS))

        return publish

    def _place(self, token: str) -> str:
        return f"{self._prefix}:r:{token}"


async def _renew(redis: RedisLink, lease: str, token: str) -> None:
    for _ in range(_RENEWALS):
        await asyncio.sleep(LEASE_MS / 3000)
        await redis.run(lambda client: client.eval(_RENEW, 1, lease, token, LEASE_MS))


async def _release(redis: RedisLink, lease: str, token: str) -> None:
    await redis.run(lambda client: client.eval(_RELEASE, 1, lease, token))
