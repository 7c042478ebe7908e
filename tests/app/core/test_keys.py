import io
import json
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from limits import RateLimitItemPerMinute

from serving.app.__main__ import _refuse_keyless_host
from serving.app.core.auth import PROTECTED, scope_of
from serving.app.core.rate import RateWindows
from serving.app.core.telemetry import make_logger
from serving.app.main import create_app
from serving.app.settings import AppSettings
from serving.keys import PREFIX, Caller, create_key, find_caller, hash_of, read_keys, revoke_key, rotate_key
from serving.pipeline.errors import ConfigError, DataError
from serving.pipeline.redis.address import RedisAddress
from tests.app.core.test_auth import bearer
from tests.app.core.test_budget import redis_url
from tests.app.making import QUESTION, House, opened
from tests.support.world import World

__all__ = ["redis_url"]

NOW = datetime(2026, 11, 1, tzinfo=UTC)


def test_a_key_is_shown_once_and_the_file_has_its_hash_alone(tmp_path: Path) -> None:
    path = tmp_path / "new" / "keys.yaml"
    key = create_key(path, Caller(id="bot", tenant="acme", groups=frozenset({"hr", "it"})))
    assert key.startswith(PREFIX) and len(key) > 40
    assert key not in path.read_text() and key.removeprefix(PREFIX) not in path.read_text()
    [(digest, caller)] = read_keys(path).items()
    assert digest == hash_of(key)
    assert (caller.id, caller.tenant, caller.groups, caller.scopes) == ("bot", "acme", {"hr", "it"}, {"query", "feedback"})
    assert find_caller(read_keys(path), key, NOW) == caller
    assert find_caller(read_keys(path), f"{key}x", NOW) is None


def test_an_expired_key_is_none(tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    key = create_key(path, Caller(id="bot", expires=NOW))
    assert find_caller(read_keys(path), key, NOW - timedelta(seconds=1)) is not None
    assert find_caller(read_keys(path), key, NOW) is None


def test_a_rotated_key_works_until_its_overlap_ends_and_the_new_one_from_now_on(tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    old = create_key(path, Caller(id="bot", scopes=frozenset({"ingest"})))
    new = rotate_key(path, "bot", NOW)
    keys = read_keys(path)
    before, after = NOW - timedelta(hours=1), NOW + timedelta(hours=1)
    assert find_caller(keys, old, before) is not None
    assert find_caller(keys, old, after) is None
    renewed = find_caller(keys, new, after)
    assert renewed is not None
    assert renewed.scopes == {"ingest"}
    with pytest.raises(ConfigError, match="'bot' has 2 keys"):
        rotate_key(path, "bot", NOW)
    assert set(revoke_key(path, hash_of(old)[:10])) == {hash_of(old)}
    assert set(revoke_key(path, "bot")) == {hash_of(new)}
    with pytest.raises(ConfigError, match="holds no key"):
        read_keys(path)
    with pytest.raises(DataError, match=r"no key 'bot'.*Ids: none"):
        revoke_key(path, "bot")


def test_keys_made_at_the_same_time_are_all_kept(tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    makers = [threading.Thread(target=create_key, args=(path, Caller(id=f"bot-{n}"))) for n in range(12)]
    for maker in makers:
        maker.start()
    for maker in makers:
        maker.join()
    assert {caller.id for caller in read_keys(path).values()} == {f"bot-{n}" for n in range(12)}


async def test_a_key_is_good_for_its_scopes_alone(furnished: House, tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    made = {name: create_key(path, Caller(id=name, scopes=frozenset({name}))) for name in ("query", "feedback", "admin")}
    async with opened(furnished.settings(api_keys=path)) as api:

        async def status(name: str, method: str, path: str) -> int:
            body = {"question": QUESTION} if method == "POST" else None
            return (await api.client.request(method, path, json=body, headers=bearer(made[name]))).status_code

        assert [await status(name, "POST", "/v1/query") for name in made] == [200, 403, 200]
        assert [await status(name, "GET", "/v1/release") for name in made] == [200, 403, 200]
        assert [await status(name, "DELETE", "/v1/nothing") for name in made] == [403, 403, 404]
        refused = await api.client.get("/v1/release", headers=bearer(made["feedback"]))
    assert refused.json()["detail"] == "This key lacks the scope 'query'."
    assert refused.headers["content-type"] == "application/problem+json"


def test_every_route_that_is_protected_has_a_scope_of_its_own(furnished: House) -> None:
    app = create_app(furnished.settings())
    routes = [(method, path) for path, methods in app.openapi()["paths"].items() for method in methods]
    protected = [(method.upper(), path) for method, path in routes if path.startswith(PROTECTED)]
    assert ("POST", "/v1/query") in protected
    admins = [route for route in protected if scope_of(*route) == "admin"]
    assert admins
    assert [route for route in admins if not route[1].startswith("/v1/admin/")] == []
    assert scope_of("POST", "/v1/forgotten") == "admin"
    assert scope_of("GET", "/v1/query") == scope_of("POST", "/v1/queryx") == "admin"


async def test_who_asks_too_often_waits_and_nobody_else_does(furnished: House, tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    slow, free = create_key(path, Caller(id="slow", per_minute=2)), create_key(path, Caller(id="free"))
    async with opened(furnished.settings(api_keys=path)) as api:
        answers = [await api.client.get("/v1/release", headers=bearer(slow)) for _ in range(3)]
        others = [await api.client.get("/v1/release", headers=bearer(free)) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert [answer.status_code for answer in others] == [200, 200, 200]
    assert 1 <= int(answers[2].headers["retry-after"]) <= 60
    assert answers[2].json()["type"] == "urn:touchstone:problem:too-often"


async def test_a_limit_of_the_server_is_for_every_caller(furnished: House) -> None:
    async with opened(furnished.settings(max_per_minute=1)) as api:
        assert [(await api.client.get("/v1/release")).status_code for _ in range(2)] == [200, 429]
        assert [(await api.client.get("/livez")).status_code for _ in range(3)] == [200, 200, 200]


def test_the_command_makes_lists_rotates_and_revokes(world: World) -> None:
    made = world.touchstone(
        "key", "create", "bot", "--tenant", "acme", "--group", "hr", "--scope", "query", "--days", "30", "--per-minute", "9"
    )
    assert made.code == 0, made.err
    key = made.out.strip()
    assert key.startswith(PREFIX)
    assert "shown this once" in made.err
    shown = world.touchstone("key", "list")
    assert shown.out.split("  ")[1:4] == ["bot", "acme", "query"]
    assert "9 a minute; groups hr; until" in shown.out
    assert key not in shown.out
    [row] = json.loads(world.touchstone("key", "list", "--json").out)
    assert (row["id"], row["hash"]) == ("bot", hash_of(key)[:8])
    renewed = world.touchstone("key", "rotate", "bot", "--hours", "0")
    assert renewed.out.strip() != key
    assert find_caller(read_keys(Path("keys.yaml")), key, datetime.now(UTC)) is None
    assert world.touchstone("key", "revoke", "bot").out.count("revoked") == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["create", "bot", "--scope", "quary"], "scopes"),
        (["create", "", "--scope", "query"], "id"),
        (["create", "bot", "--days", "0"], "--days is a number above 0"),
        (["create", "bot", "--per-minute", "0"], "per_minute"),
        (["list"], "keys.yaml"),
        (["revoke", "nobody"], "no key 'nobody'"),
    ],
)
def test_a_mistake_with_a_key_is_one_line(world: World, arguments: list[str], words: str) -> None:
    said = world.touchstone("key", *arguments)
    assert said.code == 2
    assert words in said.err
    assert said.err.count("\n") == 1


def test_a_file_that_is_none_is_not_written_over(tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    path.write_text(yaml.safe_dump({"not-a-hash": {"id": "x"}}))
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="Each entry is"):
        create_key(path, Caller(id="bot"))
    assert path.read_bytes() == before


HOSTS = [("0.0.0.0", True), ("10.1.2.3", True), ("127.0.0.1", False), ("localhost", False), ("::1", False)]


@pytest.mark.parametrize(("host", "open_door"), HOSTS)
def test_without_keys_the_server_listens_on_this_machine_alone(furnished: House, tmp_path: Path, host: str, open_door: bool) -> None:
    if open_door:
        with pytest.raises(ConfigError, match="touchstone key create"):
            _refuse_keyless_host(host, furnished.settings())
    else:
        _refuse_keyless_host(host, furnished.settings())
    _refuse_keyless_host(host, furnished.settings(api_keys=tmp_path / "keys.yaml"))


@asynccontextmanager
async def windows(url: str, log: io.StringIO) -> AsyncIterator[RateWindows]:
    opened = RateWindows(RedisAddress(url), make_logger(AppSettings(_env_file=None), log), clock=lambda: 0.0)
    try:
        yield opened
    finally:
        await opened.close()


async def test_processes_that_share_redis_share_a_callers_minute(redis_url: str) -> None:
    limit = RateLimitItemPerMinute(2)
    async with windows(redis_url, io.StringIO()) as one, windows(redis_url, io.StringIO()) as other:
        assert [await one.admit(limit, "a"), await other.admit(limit, "a")] == [0, 0]
        assert 1 <= await one.admit(limit, "a") <= 60
        assert await other.admit(limit, "b") == 0


async def test_without_an_answer_of_redis_each_process_counts_for_itself_and_says_so_once(tmp_path: Path) -> None:
    log = io.StringIO()
    limit = RateLimitItemPerMinute(2)
    async with windows(f"unix://{tmp_path}/none", log) as alone:
        assert [await alone.admit(limit, "a") > 0 for _ in range(4)] == [False, False, True, True]
    assert log.getvalue().count("rate limits not shared") == 1
