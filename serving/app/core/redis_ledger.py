"""The ledger of budgets on Redis: one for all processes."""

import time
from collections.abc import Awaitable, Callable
from typing import Final, cast

from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as LostConnection
from redis.exceptions import RedisError, ResponseError

from serving.app.core.budget import Account
from serving.pipeline.breaker import BreakerLimits, CircuitBreaker
from serving.pipeline.errors import StoreError
from serving.pipeline.redact import without_password
from serving.pipeline.redis.address import RedisAddress
from serving.pipeline.redis.cancelling import cancellation_kept

TIMEOUT_S: Final = 0.5
LIMITS: Final = BreakerLimits(failures=2, first_rest_s=1.0, longest_rest_s=15.0)  # so that not every question waits for a Redis that is out
TTL_S: Final = 3 * 86_400  # of a day's counters
KEYS: Final = "budget"  # below the prefix of the deployment

# spent: a number; reserved: a hash of reservation → "dollars until". Both keys have one name in braces: a cluster keeps them together.
_RESERVE: Final = """
local now, limit = tonumber(ARGV[1]), tonumber(ARGV[2])
local total = tonumber(redis.call('GET', KEYS[1]) or '0')
local all = redis.call('HGETALL', KEYS[2])
for i = 1, #all, 2 do
  local usd, till = string.match(all[i + 1], '^(%S+) (%S+)$')
  if tonumber(till) <= now then redis.call('HDEL', KEYS[2], all[i]) else total = total + tonumber(usd) end
end
if total >= limit then return 0 end
redis.call('HSET', KEYS[2], ARGV[3], ARGV[4] .. ' ' .. ARGV[5])
redis.call('EXPIRE', KEYS[2], ARGV[6])
return 1
"""
_SETTLE: Final = """
redis.call('HDEL', KEYS[2], ARGV[1])
redis.call('INCRBYFLOAT', KEYS[1], ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[3])
return 1
"""


class RedisLedger:
    """A ledger shared by every process that names the same Redis."""

    def __init__(self, redis: RedisAddress, *, clock: Callable[[], float] = time.monotonic) -> None:
        retry = Retry(NoBackoff(), 1, supported_errors=(LostConnection,))  # a connection that died while it was idle
        pool = redis.pool(ConnectionPool, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S, retry=retry)
        self._redis = Redis.from_pool(pool)
        self._address = redis
        self._breaker = CircuitBreaker(clock, LIMITS)
        self._clock = clock

    async def reserve(self, account: Account, day: str, ident: str, usd: float, lasts_s: float) -> bool:
        """See `BudgetLedger`; by the clock of this machine, since reservations last much longer than clocks differ."""
        now = time.time()
        values = [repr(now), repr(account.limit_usd), ident, repr(usd), repr(now + lasts_s), str(TTL_S)]
        return bool(await self._run(_RESERVE, account.name, day, values))

    async def settle(self, name: str, day: str, ident: str, usd: float) -> None:
        """See `BudgetLedger`."""
        await self._run(_SETTLE, name, day, [ident, f"{usd:.12f}", str(TTL_S)])

    async def spent(self, name: str, day: str) -> float:
        """See `BudgetLedger`."""
        try:
            with cancellation_kept():
                return float(await self._redis.get(self._keys(name, day)[0]) or 0.0)
        except (RedisError, OSError, TimeoutError) as error:
            raise _outage(error) from error

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()

    async def _run(self, script: str, name: str, day: str, values: list[str]) -> object:
        if not self._breaker.attempt():
            raise StoreError("Redis does not answer, and is left alone for a while.")
        began_s = self._clock()
        try:
            with cancellation_kept():
                done = await cast(Awaitable[object], self._redis.eval(script, 2, *self._keys(name, day), *values))
        except ResponseError as error:  # it is there
            self._breaker.succeeded()
            raise _outage(error) from error
        except (RedisError, OSError, TimeoutError) as error:
            self._breaker.failed(began_s)
            raise _outage(error) from error
        self._breaker.succeeded()
        return done

    def _keys(self, name: str, day: str) -> tuple[str, str]:
        account = self._address.key(KEYS, f"{{{name}:{day}}}")
        return f"{account}:spent", f"{account}:reserved"


def _outage(error: Exception) -> StoreError:
    if isinstance(error, ResponseError):
        return StoreError(f"Redis refuses a command of the budgets: {without_password(str(error))}")
    return StoreError(f"Redis does not answer: {type(error).__name__}.")
