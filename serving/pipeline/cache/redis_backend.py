"""Answers stored on Redis or Valkey, for all processes of a deployment."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from functools import partial
from typing import Any, Final

from serving.pipeline.cache.backend import CacheSize, FoundAnswer, JoinResult
from serving.pipeline.cache.base import CacheEntry
from serving.pipeline.cache.keys import CacheKeys, EntryKey
from serving.pipeline.cache.redis_flights import RedisFlights
from serving.pipeline.cache.redis_link import RedisLink
from serving.pipeline.cache.redis_vectors import FollowedScope, FollowedScopes, log_item, stream_start
from serving.pipeline.cache.seal import BrokenSeal, StoredAnswer, opened, sealed
from serving.pipeline.cache.vectors import Neighbour
from serving.pipeline.clock import Clock
from serving.pipeline.index.base import Vectors
from serving.pipeline.redis.address import RedisAddress

_BATCH: Final = 200  # items of a log read at a time; a lookup reads one batch, the rest is read behind its back
_SCANNED: Final = 500  # names of a configuration at a time
_LOWER: Final = (
    "if tonumber(redis.call('hget',KEYS[1],'reach') or '0')==tonumber(ARGV[1]) then "
    "redis.call('hset',KEYS[1],'reach',tonumber(ARGV[1])+1) end return redis.call('hget',KEYS[1],'reach')"
)


class RedisBackend:
    """Entries under seals with a time to live; each scope's vectors in a log that every process follows; the last used in a sorted set.

    An answer is a GET away. What Redis lost (restarted, flushed, evicted) is a miss. Whoever counts or clears reads the names in the sorted
    sets and never walks the keys: those of others are on the same Redis, and we have no right to hear of them.
    """

    def __init__(self, redis: RedisLink, keys: CacheKeys, clock: Clock, *, ttl_s: float, max_entries: int) -> None:
        self._redis = redis
        self._keys = keys
        self._now_s: Callable[[], float] = lambda: clock.now().timestamp()
        self._ttl_s = ttl_s
        self._max_entries = max_entries
        self._prefix = prefix_of(keys, redis.address)
        self._known = f"{self._prefix}:n"  # every configuration that wrote something
        self._tasks: set[asyncio.Task[Any]] = set()
        self._scopes = FollowedScopes(keys, ttl_s=ttl_s, most=max_entries)
        self._following: set[str] = set()
        self._flights = RedisFlights(redis, keys, self._prefix, self._now_s, self._start)
        self._reach: dict[str, int] = {}
        self.broken = 0  # entries that were altered, cut or put elsewhere

    async def read(self, key: EntryKey) -> FoundAnswer | None:
        """The answer under a key; a look at the reach comes along."""
        place, now_s = self._entry(key), self._now_s()

        async def look(client: Any) -> Any:
            pipe = client.pipeline(transaction=False)
            pipe.get(place)
            pipe.hget(self._audits(key.release), "reach")
            pipe.zadd(self._used(key.release), {key.question: now_s}, xx=True)
            return _with_rights(await pipe.execute(raise_on_error=False))

        found = await self._redis.run(look)
        if found is None:
            return None
        self._update_reach(key.release, found[1])
        if not isinstance(found[0], bytes):
            self._forget(key)
            return None
        try:
            kept = opened(found[0], place, self._keys)
        except BrokenSeal:
            self.broken += 1
            await self.drop(key)
            return None
        age_s = max(0.0, now_s - kept.at_s)
        return FoundAnswer(kept.entry, kept.question, age_s) if age_s < self._ttl_s else None

    async def near(self, key: EntryKey, vector: Vectors, count: int) -> Sequence[Neighbour]:
        """The nearest questions in a key's scope, of those that this process has read so far."""
        place = self._log(key)
        scope = self._scopes.of(place)
        if place not in self._following and await self._follow(place, scope) == _BATCH:
            self._following.add(place)
            self._start(self._catch_up(place, scope))
        return scope.table.nearest(vector, count) if scope.table else []

    async def write(self, key: EntryKey, question: str, entry: CacheEntry, vector: Vectors | None) -> None:
        """Keep an answer; the least recently used beyond the bound go."""
        place, log, used, now_s = self._entry(key), self._log(key), self._used(key.release), self._now_s()
        data = sealed(StoredAnswer(entry, question, now_s), place, self._keys)
        if data is None:
            return
        item = None if vector is None else log_item(log, key.question, vector, now_s * 1000, self._keys)
        ttl_ms = max(1, int(self._ttl_s * 1000))

        async def keep(client: Any) -> Any:
            pipe = client.pipeline(transaction=False)
            pipe.sadd(self._known, key.release)  # its name first: a connection that dies here leaves no answer that nobody could clear
            pipe.zadd(used, {key.question: now_s})
            pipe.pexpire(used, ttl_ms)
            pipe.set(place, data, px=ttl_ms)
            if item is not None:
                pipe.xadd(log, item, maxlen=self._max_entries, approximate=True)
                pipe.pexpire(log, ttl_ms)
            pipe.zremrangebyscore(used, "-inf", now_s - self._ttl_s)
            pipe.zcard(used)
            return (await pipe.execute())[-1]

        count = await self._redis.run(keep)
        if count is None:
            return
        if vector is not None:
            self._scopes.of(log).write(key.question, vector, now_s * 1000)
        if count > self._max_entries:
            await self._trim(key.release, count - self._max_entries)

    async def drop(self, key: EntryKey) -> None:
        """Forget an answer."""
        self._forget(key)
        await self._redis.run(lambda client: client.unlink(self._entry(key)))

    async def join(self, key: EntryKey, wait_s: float) -> JoinResult:
        """Lead all processes in answering a question, or wait for whoever leads."""
        return await self._flights.join(key, wait_s)

    async def audited(self, release: str, name: str, disagreed: bool) -> tuple[int, int]:
        """Count an audit of any process."""

        async def count(client: Any) -> Any:
            pipe = client.pipeline(transaction=True)
            pipe.hincrby(self._audits(release), f"{name}:audits", 1)
            pipe.hincrby(self._audits(release), f"{name}:disagreed", int(disagreed))
            pipe.sadd(self._known, release)
            return await pipe.execute()

        found = await self._redis.run(count)
        return (int(found[0]), int(found[1])) if found else (0, 0)

    def reach(self, release: str) -> int:
        """How often the reach was lowered, as of the last look."""
        return self._reach.get(release, 0)

    async def lower(self, release: str, reach: int) -> None:
        """Lower the reach by one step, unless another process did."""
        self._reach[release] = max(self._reach.get(release, 0), reach + 1)
        found = await self._redis.run(lambda client: client.eval(_LOWER, 1, self._audits(release), reach))
        self._update_reach(release, found)

    async def restore(self, release: str) -> None:
        """Give the cache its whole reach back, and count its audits again."""

        async def anew(client: Any) -> None:
            pipe = client.pipeline(transaction=True)
            pipe.delete(self._audits(release))
            pipe.hset(self._audits(release), "reach", 0)
            await pipe.execute()

        await self._redis.run(anew)

    async def clear(self, *, document: str = "", release: str = "") -> int:
        """Forget all, what was written from a document, or by a configuration."""
        cleared = 0
        async for places in self._places(release):
            chosen = places if not document else [place for place in places if document in await self._documents(place)]
            if chosen:
                cleared += int(await self._redis.run(lambda client, chosen=chosen: client.unlink(*chosen)) or 0)  # type: ignore[misc]
        return cleared

    async def size(self) -> CacheSize:
        """How many answers are kept, and in how many bytes."""
        counts: dict[str, int] = {}
        size = 0
        async for places in self._places():
            lengths = await self._redis.run(lambda client, places=places: _lengths(client, places)) or []  # type: ignore[misc]
            size += sum(lengths)
            if there := sum(length > 0 for length in lengths):
                release = places[0].split(":")[-2]
                counts[release] = counts.get(release, 0) + there
        return CacheSize(counts, size)

    async def releases(self) -> dict[str, int]:
        """The configurations whose audits were counted, with how often their reach was lowered."""
        found: dict[str, int] = {}
        for release in await self._known_releases():
            fields = await self._redis.run(lambda client, release=release: client.hgetall(self._audits(release)))  # type: ignore[misc]
            if fields:
                found[release] = int(fields.get(b"reach") or 0)
        return found

    @property
    def link(self) -> RedisLink:
        """The connection."""
        return self._redis

    @property
    def errors(self) -> int:
        """Round trips that failed."""
        return self._redis.errors

    async def aclose(self) -> None:
        """Stop following, and close the connections."""
        tasks = [task for task in self._tasks if task.get_loop() is asyncio.get_running_loop()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._redis.aclose()

    async def _follow(self, place: str, scope: FollowedScope) -> int:
        """Read on in a log; how many items there were."""
        items = await self._redis.run(lambda client: client.xrange(place, min=stream_start(scope.last), count=_BATCH))
        before = scope.broken
        scope.read(items or [], self._now_s() * 1000)
        self.broken += scope.broken - before
        return len(items or [])

    async def _catch_up(self, place: str, scope: FollowedScope) -> None:
        try:
            count = _BATCH
            while count == _BATCH:
                count = await self._follow(place, scope)
                await asyncio.sleep(0.001)  # others first
        finally:
            self._following.discard(place)

    async def _trim(self, release: str, count: int) -> None:
        async def trim(client: Any) -> None:
            popped = await client.zpopmin(self._used(release), count)
            if popped:
                await client.unlink(*(f"{self._prefix}:e:{release}:{bytes(name).decode()}" for name, _ in popped))

        await self._redis.run(trim)

    def _update_reach(self, release: str, value: object) -> None:
        """Take up what another process or an operator decided; Redis' forgetting it decides nothing."""
        known = self._reach.get(release, 0)
        if isinstance(value, (bytes, str, int)) and str(value.decode() if isinstance(value, bytes) else value).isdigit():
            self._reach[release] = int(value)
        elif known and value is None:
            self._start(self._redis.run(lambda client: self._publish_reach(client, release, known)))

    async def _publish_reach(self, client: Any, release: str, reach: int) -> None:
        pipe = client.pipeline(transaction=False)
        pipe.hsetnx(self._audits(release), "reach", reach)
        pipe.sadd(self._known, release)
        await pipe.execute()

    async def _documents(self, place: str) -> frozenset[str]:
        data = await self._redis.run(lambda client: client.get(place))
        try:
            return opened(data, place, self._keys).entry.documents if data else frozenset()
        except BrokenSeal:
            return frozenset()

    async def _known_releases(self) -> list[str]:
        found = await self._redis.run(lambda client: client.smembers(self._known))
        return sorted(bytes(release).decode() for release in found or ())

    async def _places(self, release: str = "") -> AsyncIterator[list[str]]:
        """Where answers are, those of one configuration at a time; some may be gone."""
        for one in [release] if release else await self._known_releases():
            cursor: int | None = None
            while cursor != 0:
                look = partial(_scan, name=self._used(one), cursor=cursor or 0)
                found = await self._redis.run(look)
                if found is None:
                    return
                cursor, names = found
                if names:
                    yield [f"{self._prefix}:e:{one}:{name}" for name in names]

    def _forget(self, key: EntryKey) -> None:
        scope = self._scopes.known(self._log(key))
        if scope is not None:
            scope.drop(key.question)

    def _start(self, work: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        """Work that nobody waits for."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _entry(self, key: EntryKey) -> str:
        return f"{self._prefix}:e:{key.release}:{key.question}"

    def _log(self, key: EntryKey) -> str:
        return f"{self._prefix}:v:{key.release}:{key.scope}"

    def _used(self, release: str) -> str:
        return f"{self._prefix}:u:{release}"

    def _audits(self, release: str) -> str:
        return f"{self._prefix}:a:{release}"


def prefix_of(keys: CacheKeys, address: RedisAddress) -> str:
    """How the keys of a deployment's cache begin: two with different secrets share nothing."""
    return address.key("cache", keys.mac("deployment")[:12])


def _with_rights(found: list[Any]) -> list[Any]:
    """What was found; a key of another type is a miss, a right that we lack is not."""
    from redis.exceptions import NoPermissionError

    for one in found:
        if isinstance(one, NoPermissionError):
            raise one
    return found


async def _scan(client: Any, name: str, cursor: int) -> tuple[int, list[str]]:
    cursor, found = await client.zscan(name, cursor, count=_SCANNED)
    return cursor, [bytes(one).decode() for one, _ in found]


async def _lengths(client: Any, places: Sequence[str]) -> list[int]:
    pipe = client.pipeline(transaction=False)
    for place in places:
        pipe.strlen(place)
    return [int(length) for length in await pipe.execute()]
