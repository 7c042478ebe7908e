"""The cache of all channels: a server does what it does under the rights that Terraform gives its channel, and reaches no other's."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from limits import RateLimitItemPerMinute
from redis import Redis
from redis.exceptions import AuthenticationError, NoPermissionError, ResponseError

from serving.app.core.budget import Account
from serving.app.core.rate import RateWindows
from serving.app.core.redis_ledger import RedisLedger
from serving.app.core.telemetry import make_logger
from serving.app.settings import AppSettings
from serving.keys import Caller, create_key
from serving.pipeline.errors import StoreError
from serving.pipeline.redis.address import RedisAddress
from serving.pipeline.redis.check import check_redis
from serving.pipeline.redis.rights import COMMANDS, access_string
from tests.app.making import QUESTION, House, config, opened
from tests.support.elasticache import ACCESS, USERS, SharedCache, cache, pod
from tests.support.redis import RedisServer, a_secret, running_redis

__all__ = ["cache", "pod"]

pytestmark = pytest.mark.usefixtures("pod")

DAY = "2026-11-01"
DEV, PROD = USERS["dev"], USERS["prod"]


def address(cache: SharedCache, channel: str) -> RedisAddress:
    return RedisAddress.of(AppSettings(_env_file=None, **cache.settings(channel)))


def client_of(cache: SharedCache, user: str, **more: Any) -> "Redis":
    """What a pod could do by hand that has a token."""
    return Redis(
        host="127.0.0.1", port=cache.server.port, username=user, password="a token", ssl=True, ssl_ca_certs=str(cache.certificate), **more
    )


async def test_a_server_does_all_it_does_on_redis_under_the_rights_of_its_channel(cache: SharedCache, house: House, tmp_path: Path) -> None:
    await house.release(config(**{"cache.lookup.name": "semantic"}))
    key = create_key(tmp_path / "keys.yaml", Caller(id="ann", usd_per_day=5.0, per_minute=7, scopes=("query", "admin")))
    told = cache.settings("dev") | {"cache_secret": a_secret(), "api_keys": tmp_path / "keys.yaml", "cache_audit": 1.0}
    async with opened(house.settings(**told)) as api:
        api.client.headers["Authorization"] = f"Bearer {key}"
        together = await asyncio.gather(*(api.ask() for _ in range(3)))
        again, near = (await api.ask()).json(), (await api.ask(QUESTION + " Please.")).json()
        statuses = [(await api.ask()).status_code for _ in range(4)]
        ready = await api.client.get("/readyz")
        errors = await api.metric("touchstone_cache_backend_errors_total")
        audit: Any = api.release_manager.serving.pipeline.cache.audit  # type: ignore[union-attr]
        await asyncio.gather(*audit._tasks)
        told_by_log = [line for line in api.log if "shared" in line["event"] or "edis" in line["event"]]
    assert [answer.status_code for answer in together] == [200, 200, 200]
    assert again["cached"] and near["cached"] and near["cache"]["kind"] == "semantic"
    assert 429 in statuses and ready.status_code == 200
    assert told_by_log == [] and {line.rpartition(" ")[2] for line in errors} <= {"0.0"}
    with cache.owner() as owner:
        places = [place.decode() for place in owner.scan_iter(f"{DEV}:*")]
        assert owner.acl_log() == []
    kinds = {place.split(":")[1] for place in places}
    assert kinds == {"cache", "rate", "budget"}


@pytest.mark.parametrize("channel", USERS)
async def test_each_channel_counts_for_itself(cache: SharedCache, channel: str) -> None:
    windows = RateWindows(address(cache, channel), make_logger(AppSettings(_env_file=None)))
    ledger, limit = RedisLedger(address(cache, channel)), RateLimitItemPerMinute(1)
    assert await windows.admit(limit, "the same caller") == 0  # whatever the other channels, which come before, have counted
    assert await windows.admit(limit, "the same caller") > 0
    assert await ledger.reserve(Account("server", 1.0), DAY, "one", 0.5, 60)
    await ledger.settle("server", DAY, "one", 1.5)
    assert await ledger.spent("server", DAY) == 1.5
    assert not await ledger.reserve(Account("server", 1.0), DAY, "two", 0.5, 60)
    await windows.close()
    await ledger.close()


KEY = f"{PROD}:budget:{{server:{DAY}}}:spent"
OTHERS: list[tuple[str | int, ...]] = [
    ("GET", KEY), ("SET", KEY, "0"), ("DEL", KEY), ("UNLINK", KEY), ("INCRBYFLOAT", KEY, "1"), ("EXPIRE", KEY, 1), ("STRLEN", KEY),
    ("MGET", f"{DEV}:x", KEY), ("HGETALL", f"{PROD}:h"), ("HSET", f"{PROD}:h", "a", "b"), ("ZADD", f"{PROD}:z", 1, "a"),
    ("ZSCAN", f"{PROD}:z", 0), ("SMEMBERS", f"{PROD}:s"), ("XRANGE", f"{PROD}:v", "-", "+"), ("LPUSH", f"{PROD}:rate:ann", 1),
    ("EVAL", "return redis.call('get',KEYS[1])", 1, KEY), ("EVAL", f"return redis.call('get','{KEY}')", 0),
    ("EVAL", f"return redis.call('set','{KEY}','0')", 1, f"{DEV}:x"), ("GET", f"{DEV}2:x"), ("GET", DEV), ("GET", "touchstone:x"),
]  # fmt: skip
EVERYBODY: list[tuple[str | int, ...]] = [
    ("KEYS", "*"), ("SCAN", 0), ("RANDOMKEY",), ("DBSIZE",), ("FLUSHALL",), ("FLUSHDB",), ("SWAPDB", 0, 1), ("SELECT", 1),
    ("CONFIG", "GET", "*"), ("CONFIG", "SET", "maxmemory", 1), ("INFO",), ("ACL", "LIST"), ("ACL", "WHOAMI"),
    ("ACL", "SETUSER", DEV, "~*"), ("CLIENT", "LIST"), ("CLIENT", "KILL", "TYPE", "normal"), ("MONITOR",), ("SLOWLOG", "GET"),
    ("DEBUG", "SLEEP", 0), ("SHUTDOWN",), ("SAVE",), ("REPLICAOF", "NO", "ONE"), ("SCRIPT", "FLUSH"), ("FUNCTION", "LIST"),
    ("MODULE", "LIST"), ("SUBSCRIBE", "x"), ("PUBLISH", "x", "y"), ("COPY", f"{DEV}:x", f"{DEV}:y"), ("RENAME", f"{DEV}:x", f"{DEV}:y"),
    ("OBJECT", "FREQ", f"{DEV}:x"), ("DUMP", f"{DEV}:x"), ("MIGRATE", "h", 1, f"{DEV}:x", 0, 1), ("SORT", f"{DEV}:x"),
    ("EVAL", "return redis.call('keys','*')", 0), ("EVAL", "return redis.call('flushall')", 0),
]  # fmt: skip


@pytest.mark.parametrize("command", [*OTHERS, *EVERYBODY], ids=lambda command: " ".join(map(str, command))[:60])
def test_a_pod_of_one_channel_neither_reads_nor_writes_what_is_another_channels_nor_rules_the_cache(
    cache: SharedCache, command: tuple[str | int, ...]
) -> None:
    with cache.owner() as owner:
        owner.set(KEY, "12.5")
        with client_of(cache, DEV) as pod, pytest.raises(ResponseError, match="no permissions|can't access|can't run|not allowed"):
            pod.execute_command(*command)
        assert owner.get(KEY) == b"12.5"
        owner.delete(KEY)
        owner.acl_log_reset()


def test_nobody_comes_in_without_signing_in(cache: SharedCache) -> None:
    for user in (None, "default", "nobody"):
        with pytest.raises(AuthenticationError), client_of(cache, user or "", retry=None) as pod:
            pod.ping()
    with cache.owner() as owner:
        owner.acl_log_reset()


def test_rights_are_a_channels_own_keys_and_what_is_done_there() -> None:
    assert set(USERS) == set(ACCESS) == {"dev", "staging", "prod"}
    for channel, user in USERS.items():
        assert ACCESS[channel] == access_string(user)
        words = ACCESS[channel].split()
        assert words[:3] == ["on", f"~{user}:*", "-@all"]
        assert [word for word in words if word.startswith(("~", "&", "%")) or "@" in word] == [f"~{user}:*", "-@all"]
    assert len(set(COMMANDS)) == len(COMMANDS)


@pytest.mark.parametrize("wrong", ["nobody", "another channel's"])
async def test_wrong_rights_are_one_line_that_says_what_to_mend(cache: SharedCache, wrong: str) -> None:
    named = cache.settings("dev") | ({"redis_iam_user": "nobody"} if wrong == "nobody" else {"redis_prefix": PROD})
    with pytest.raises(StoreError) as caught:
        await check_redis(RedisAddress.of(AppSettings(_env_file=None, **named)))
    said = str(caught.value)
    if wrong == "nobody":
        assert "does not let us in" in said
        assert "needs elasticache:Connect on the cache 'touchstone-cache' and on the user 'nobody'" in said
    else:
        assert "refuses what we do there" in said and access_string(PROD) in said
    assert "\n" not in said and "Signature" not in said
    assert await check_redis(address(cache, "dev")) == f"{cache.url}, keys {DEV}:*, as {DEV}"
    with cache.owner() as owner:
        owner.acl_log_reset()


@pytest.mark.parametrize("wrong", ["nobody", "another channel's"])
async def test_a_server_with_wrong_rights_answers_as_one_whose_redis_is_out(
    cache: SharedCache, house: House, tmp_path: Path, wrong: str, caplog: pytest.LogCaptureFixture
) -> None:
    await house.release(config(**{"cache.lookup.name": "exact"}))
    named = cache.settings("dev") | ({"redis_iam_user": "nobody"} if wrong == "nobody" else {"redis_prefix": PROD})
    key = create_key(tmp_path / "keys.yaml", Caller(id="ann", usd_per_day=5.0, per_minute=100))
    async with opened(house.settings(**named, cache_secret=a_secret(), api_keys=tmp_path / "keys.yaml")) as api:
        api.client.headers["Authorization"] = f"Bearer {key}"
        answers = [await api.ask() for _ in range(4)]
        errors = await api.metric("touchstone_cache_backend_errors_total")
        ready = await api.client.get("/readyz")
        events = [line["event"] for line in api.log]
        text = api.log_text + caplog.text
    assert {answer.status_code for answer in [*answers, ready]} == {200}
    assert not any(answer.json()["cached"] for answer in answers)
    assert events.count("budgets not shared") == events.count("rate limits not shared") == 1
    assert sum(float(line.rpartition(" ")[2]) for line in errors) > 0
    assert caplog.text.count("Redis at") == 1
    assert "Signature" not in text
    with cache.owner() as owner:
        owner.acl_log_reset()


@pytest.fixture
def plain(tmp_path: Path) -> Iterator[RedisServer]:
    yield from running_redis(tmp_path, "--user", "app", "on", ">hunter2", "~mine:*", "-@all", *access_string("mine").split()[3:])


async def test_a_password_in_the_address_goes_on_to_work(plain: RedisServer) -> None:
    mine = RedisAddress(f"redis://app:hunter2@127.0.0.1:{plain.port}/0", "mine")
    assert await check_redis(mine) == f"redis://app:***@127.0.0.1:{plain.port}/0, keys mine:*"
    ledger, windows = RedisLedger(mine), RateWindows(mine, make_logger(AppSettings(_env_file=None)))
    assert await ledger.reserve(Account("b", 1.0), DAY, "one", 0.5, 60)
    assert await windows.admit(RateLimitItemPerMinute(1), "a") == 0
    assert await windows.admit(RateLimitItemPerMinute(1), "a") > 0
    await ledger.close()
    await windows.close()
    with pytest.raises(StoreError, match=r"does not let us in: .*\. Write user and password into TOUCHSTONE_REDIS") as caught:
        await check_redis(RedisAddress(f"redis://app:wrong@127.0.0.1:{plain.port}/0", "mine"))
    assert "wrong@" not in str(caught.value) and "hunter2" not in str(caught.value)
    others = RedisLedger(RedisAddress(mine.url, "others"))
    with pytest.raises(StoreError, match="Redis refuses a command of the budgets: .*permission"):
        await others.reserve(Account("b", 1.0), DAY, "one", 0.5, 60)
    await others.close()
    with pytest.raises(NoPermissionError), Redis.from_url(mine.url) as client:
        client.config_get("*")
