"""Whether a deployment reaches its Redis and has the rights that it needs there, in one line."""

from typing import Final

from serving.pipeline.errors import StoreError
from serving.pipeline.redact import without_password
from serving.pipeline.redis.address import RedisAddress
from serving.pipeline.redis.rights import access_string

TIMEOUT_S: Final = 5.0
_TAKE_AWAY: Final = "return redis.call('del',KEYS[1])"


async def check_redis(address: RedisAddress) -> str:
    """Write a key, read it, and take it away by a script; who we are there, or `StoreError` with what to mend."""
    from redis.asyncio import ConnectionPool, Redis
    from redis.exceptions import AuthenticationError, NoPermissionError, RedisError

    pool = address.pool(ConnectionPool, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S)
    client = Redis.from_pool(pool)
    key = address.key("check")
    try:
        pipe = client.pipeline(transaction=True)
        pipe.set(key, "1", px=1000)
        pipe.get(key)
        pipe.eval(_TAKE_AWAY, 1, key)
        await pipe.execute()
    except AuthenticationError as error:
        raise StoreError(f"Redis at {address.place} does not let us in: {without_password(str(error))}. {_mend(address)}") from error
    except NoPermissionError as error:
        needed = f"Its rights have to be: {access_string(address.prefix)}"
        raise StoreError(f"Redis at {address.place} refuses what we do there: {without_password(str(error))} {needed}") from error
    except (RedisError, OSError, TimeoutError) as error:
        raise StoreError(f"Redis at {address.place} does not answer: {without_password(str(error)) or type(error).__name__}") from error
    finally:
        await client.aclose()
    return f"{address.place}, keys {address.prefix}:*" + (f", as {address.iam_user}" if address.iam_user else "")


def _mend(address: RedisAddress) -> str:
    if not address.iam_user:
        return "Write user and password into TOUCHSTONE_REDIS, rediss://user:password@host."
    what = f"elasticache:Connect on the cache {address.iam_cache!r} and on the user {address.iam_user!r}"
    return f"The role needs {what}, and the cache a user group that has this user."
