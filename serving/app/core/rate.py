"""Rate limits per key in a moving window, shared by all processes where Redis is configured."""

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from limits import RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage, Storage
from limits.aio.strategies import MovingWindowRateLimiter
from starlette.types import ASGIApp, Receive, Scope, Send
from structlog.typing import FilteringBoundLogger

from serving.app.core.problems import too_often
from serving.keys import Caller
from serving.pipeline.breaker import BreakerLimits, CircuitBreaker
from serving.pipeline.redis.address import RedisAddress
from serving.pipeline.redis.cancelling import cancellation_kept

if TYPE_CHECKING:
    from redis.asyncio import ConnectionPool

TIMEOUT_S: Final = 0.5
LIMITS: Final = BreakerLimits(failures=1, first_rest_s=5.0, longest_rest_s=15.0)  # so that not every request waits for a Redis that is out
KEYS: Final = "rate"  # below the prefix of the deployment


class RateWindows:
    """Counts requests in moving windows. While Redis does not answer each process counts for itself, and says so once."""

    def __init__(self, redis: RedisAddress | None, log: FilteringBoundLogger, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._clock = clock
        self._local = MovingWindowRateLimiter(MemoryStorage())
        self._pool = _redis_pool(redis) if redis else None
        self._shared = MovingWindowRateLimiter(_redis_storage(self._pool, redis.key(KEYS))) if redis and self._pool else None
        self._breaker = CircuitBreaker(clock, LIMITS)

    async def admit(self, limit: RateLimitItemPerMinute, who: str) -> int:
        """0 for a request that is within its limit; else the seconds until one may be again."""
        if self._shared is not None and self._breaker.attempt():
            began_s = self._clock()
            try:
                wait_s = await _admit(self._shared, limit, who)
            except Exception as error:  # noqa: BLE001 — of whatever client the library has chosen: no request fails for a counter
                if self._breaker.failed(began_s):
                    self._log.error("rate limits not shared", reason=type(error).__name__, effect="each process counts for itself")
            else:
                if self._breaker.succeeded():
                    self._log.info("rate limits shared again")
                return wait_s
        return await _admit(self._local, limit, who)

    async def close(self) -> None:
        """Close the connections."""
        if self._pool is not None:
            await self._pool.disconnect()


class RateLimit:
    """Middleware that turns away what comes too often, before its body is read; a key's own limit goes before that of all."""

    def __init__(self, app: ASGIApp, windows: RateWindows, per_minute: int) -> None:
        self._app = app
        self._windows = windows
        self._per_minute = per_minute  # of a caller whose key names none; 0: no limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand on a request that is within its caller's limit."""
        caller: Caller | None = scope["state"].get("caller") if scope["type"] == "http" else None
        allowed = caller.per_minute or self._per_minute if caller else 0
        if caller is not None and allowed:
            wait_s = await self._windows.admit(RateLimitItemPerMinute(allowed), f"{caller.tenant}\0{caller.id}")
            if wait_s:
                await too_often(allowed, wait_s).problem.response()(scope, receive, send)
                return
        await self._app(scope, receive, send)


async def _admit(limiter: MovingWindowRateLimiter, limit: RateLimitItemPerMinute, who: str) -> int:
    with cancellation_kept():
        if await limiter.hit(limit, who):
            return 0
        window = await limiter.get_window_stats(limit, who)
    return max(1, math.ceil(window.reset_time - time.time()))


def _redis_pool(redis: RedisAddress) -> "ConnectionPool":
    """Connections to any address that the client takes."""
    from redis.asyncio import ConnectionPool

    return redis.pool(ConnectionPool, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S)


def _redis_storage(pool: "ConnectionPool", prefix: str) -> Storage:
    """Windows on Redis."""
    from limits.aio.storage import RedisStorage

    named: Any = pool  # as the library names its type otherwise
    return RedisStorage("async+redis://", implementation="redispy", key_prefix=prefix, connection_pool=named)
