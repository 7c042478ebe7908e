"""What a deployment does on its Redis, as the rights of a user: `infra/make_names.py` gives it to Terraform, and tests run under it.

A new command is added here, or a server of the cluster is refused it: `tests/app/core/test_redis_rights.py`.
"""

from typing import Final

COMMANDS: Final = (
    # texts and counters: answers, what waiting flights are given, leases, what was spent
    *("get", "set", "mget", "strlen", "incrbyfloat"),
    *("del", "unlink", "expire", "pexpire"),
    # hashes: audits, reservations
    *("hget", "hset", "hsetnx", "hincrby", "hdel", "hgetall"),
    # what is there, and what was used when
    *("sadd", "smembers", "zadd", "zcard", "zpopmin", "zremrangebyscore", "zscan"),
    # vectors
    *("xadd", "xrange"),
    # moving windows of requests, as the package limits keeps them
    *("lindex", "lpush", "ltrim"),
    # several at once; each command of a script is judged by itself
    *("multi", "exec", "eval", "evalsha", "script|load"),
    "ping",
)


def access_string(prefix: str) -> str:
    """Rights to a deployment's own keys by these commands alone, as ElastiCache and `ACL SETUSER` read them."""
    return " ".join(["on", f"~{prefix}:*", "-@all", *(f"+{command}" for command in COMMANDS)])
