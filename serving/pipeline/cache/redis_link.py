"""A connection to Redis or Valkey that never holds up a query: short patience, and none while it is away."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from serving.pipeline.breaker import CircuitBreaker
from serving.pipeline.errors import ConfigError
from serving.pipeline.redact import without_password
from serving.pipeline.redis.address import RedisAddress
from serving.pipeline.redis.cancelling import cancellation_kept

T = TypeVar("T")
log = logging.getLogger(__name__)

TIMEOUT_S: Final = 0.25  # of one round trip
_CONNECTIONS: Final = 32  # of one process


class RedisLink:
    """Runs commands; where they fail, `None` is all that comes back."""

    def __init__(self, address: RedisAddress, *, timeout_s: float = TIMEOUT_S, seconds: Callable[[], float] = time.monotonic) -> None:
        self.address = address
        self._timeout_s = timeout_s
        self._seconds = seconds
        self._breaker = CircuitBreaker(seconds)
        self._client: Any = self._open_client()  # connects to nothing yet; a wrong address is told when the pipeline is built
        self._loop: asyncio.AbstractEventLoop | None = None
        self._refusal = ""
        self.errors = 0

    @property
    def away(self) -> bool:
        """Whether nothing is tried now."""
        return self._breaker.open

    async def run(self, work: Callable[[Any], Awaitable[T]]) -> T | None:
        """What some commands give; `None` if Redis is away, too slow, or refuses them."""
        from redis.exceptions import NoPermissionError, RedisError, ResponseError

        if not self._breaker.attempt():
            return None
        started_s = self._seconds()
        try:
            with cancellation_kept():
                async with asyncio.timeout(2 * self._timeout_s):
                    result = await work(self._of_this_loop())
        except ResponseError as error:  # it is there: out of memory, read only, a key of another type, no right
            self.errors += 1
            self._breaker.succeeded()
            refusal = type(error).__name__ + ("" if isinstance(error, NoPermissionError) else str(error)[:20])
            if refusal != self._refusal:
                self._refusal = refusal
                log.warning("Redis at %s refuses a command of the cache: %s", self.place, without_password(str(error)))
            return None
        except (RedisError, OSError, TimeoutError) as error:
            self.errors += 1
            if self._breaker.failed(started_s):
                reason = without_password(str(error)) or type(error).__name__
                log.warning("Redis at %s is away; queries go on without it: %s", self.place, reason)
            return None
        if self._breaker.succeeded():
            log.warning("Redis at %s is back.", self.place)
        return result

    @property
    def place(self) -> str:
        """Its address without what is secret in it."""
        return self.address.place

    async def aclose(self) -> None:
        """Close the connections of this loop."""
        client, self._client = self._client, None
        if client is not None and self._loop is asyncio.get_running_loop():
            await client.aclose(close_connection_pool=True)
        self._loop = None

    def _of_this_loop(self) -> Any:
        """The client of the running loop: its connections belong to one."""
        loop = asyncio.get_running_loop()
        if self._client is None or self._loop not in (None, loop):
            self._client = self._open_client()
        self._loop = loop
        return self._client

    def _open_client(self) -> Any:
        try:
            from redis.asyncio import BlockingConnectionPool, Redis
            from redis.asyncio.retry import Retry
            from redis.backoff import NoBackoff
            from redis.exceptions import ConnectionError
        except ModuleNotFoundError:
            raise ConfigError("TOUCHSTONE_REDIS needs the package redis. Install it: pip install 'touchstone-rag[redis]'") from None
        pool = self.address.pool(
            BlockingConnectionPool,
            max_connections=_CONNECTIONS,
            timeout=self._timeout_s,
            socket_timeout=self._timeout_s,
            socket_connect_timeout=self._timeout_s,
            retry=Retry(NoBackoff(), 1, supported_errors=(ConnectionError,)),  # a connection that died while it was idle
        )
        return Redis(connection_pool=pool)
