import hashlib
import io
import shutil
from pathlib import Path

import pytest
import yaml

from serving.app.core.auth import CHECK_EVERY_S, KeyFile
from serving.app.core.problems import Rejected
from serving.app.core.telemetry import make_logger
from serving.app.main import create_app
from serving.app.settings import AppSettings
from serving.keys import read_keys
from serving.pipeline.errors import ConfigError
from tests.app.making import House, opened

DIRECTOR, CLERK = "key-of-a-director", "key-of-a-clerk"
SALARIES = "What paid leave do directors have?"


def sha(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    path = tmp_path / "keys.yaml"
    callers = {sha(DIRECTOR): {"id": "director", "groups": ["board"]}, sha(CLERK): {"id": "clerk", "domains": ["finance"]}}
    path.write_text(yaml.safe_dump(callers))
    return path


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


async def seen(api, **headers: str) -> set[str]:
    response = await api.client.post("/v1/query?trace=1", json={"question": SALARIES}, headers=headers)
    return {hit["chunk"]["document_id"] for hit in response.json()["trace"]["hits"]}


async def test_without_keys_everyone_is_the_public_whatever_they_say_of_themselves(furnished: House) -> None:
    async with opened(furnished.settings(expose_trace=True)) as api:
        claims = {"X-Touchstone-Groups": "board", "X-Touchstone-Tenant": "acme", "X-Forwarded-User": "director", **bearer(DIRECTOR)}
        assert "salaries.md" not in await seen(api, **claims)
        smuggled = await api.ask(SALARIES, principal={"groups": ["board"]})
        assert smuggled.status_code == 422


async def test_a_key_opens_what_its_caller_may_see_and_no_more(furnished: House, keys: Path) -> None:
    async with opened(furnished.settings(expose_trace=True, api_keys=keys)) as api:
        assert "salaries.md" in await seen(api, **bearer(DIRECTOR))
        assert await seen(api, **bearer(CLERK)) == {"expenses.md"}


@pytest.mark.parametrize(
    "headers",
    [
        {},
        bearer("wrong"),
        bearer(""),
        bearer(sha(DIRECTOR)),
        {"Authorization": f"Basic {DIRECTOR}"},
        {"Authorization": DIRECTOR},
        bearer("é"),
    ],
)
async def test_without_a_valid_key_nothing_is_answered_where_keys_are_in_force(
    furnished: House, keys: Path, headers: dict[str, str]
) -> None:
    raw = {name: value.encode() for name, value in headers.items()}
    async with opened(furnished.settings(api_keys=keys)) as api:
        for method, path in (("POST", "/v1/query"), ("POST", "/v1/query/stream"), ("GET", "/v1/release")):
            body = {"question": "Hello?"} if method == "POST" else None
            response = await api.client.request(method, path, json=body, headers=raw)
            assert response.status_code == 401
            assert response.headers["www-authenticate"].startswith("Bearer")
            assert response.headers["content-type"] == "application/problem+json"
        assert (await api.client.get("/readyz")).status_code == 200
        assert DIRECTOR not in api.log_text
        assert "wrong" not in api.log_text


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("", "a mapping"),
        ("{}", "no key"),
        ("plaintext-key: {id: x}", "pattern"),
        (f"{'a' * 64}: {{id: x, group: [board]}}", "group"),
        (f"{'a' * 64}: {{tenant: acme}}", "id"),
        ("a: [", "not YAML"),
    ],
)
def test_a_keys_file_that_is_not_one_stops_the_start_and_never_opens_the_door(
    furnished: House, tmp_path: Path, content: str, complaint: str
) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(content)
    with pytest.raises(ConfigError, match=complaint) as caught:
        create_app(furnished.settings(api_keys=path))
    assert "plaintext-key" not in str(caught.value)


def test_a_missing_keys_file_stops_the_start(furnished: House, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No file"):
        create_app(furnished.settings(api_keys=tmp_path / "none.yaml"))


def test_keys_are_told_apart_by_their_hashes(keys: Path) -> None:
    assert {digest: caller.id for digest, caller in read_keys(keys).items()} == {sha(DIRECTOR): "director", sha(CLERK): "clerk"}


async def test_without_a_valid_key_nothing_of_a_body_is_read(furnished: House, keys: Path) -> None:
    read = 0

    async def endless():
        nonlocal read
        while True:
            read += 1
            yield b"x" * 1024

    async with opened(furnished.settings(api_keys=keys)) as api:
        response = await api.client.post("/v1/query", content=endless(), headers=bearer("wrong"))
        unknown = await api.client.get("/v1/nothing/here")
    assert response.status_code == unknown.status_code == 401
    assert read == 0


class Passing:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_key_works_from_when_it_is_in_the_file_until_it_is_not(keys: Path) -> None:
    clock, log = Passing(), io.StringIO()
    file = KeyFile(keys, make_logger(AppSettings(_env_file=None), log), clock=clock)
    new = "key-of-a-newcomer"

    def known(key: str) -> str | None:
        caller = file.caller(f"Bearer {key}")
        return caller.id if caller else None

    assert (known(DIRECTOR), known(new)) == ("director", None)
    keys.write_text(yaml.safe_dump({sha(new): {"id": "newcomer"}}))
    assert known(DIRECTOR) == "director"  # looked at a moment ago
    clock.now += CHECK_EVERY_S
    assert (known(DIRECTOR), known(CLERK), known(new)) == (None, None, "newcomer")
    assert "keys read again" in log.getvalue()


@pytest.mark.parametrize("broken", ["", "a: [", f"{'a' * 64}: {{tenant: acme}}", None])
def test_while_the_file_is_broken_nobody_is_let_in_and_one_line_says_so(keys: Path, broken: str | None) -> None:
    clock, log, good = Passing(), io.StringIO(), keys.read_text()
    file = KeyFile(keys, make_logger(AppSettings(_env_file=None), log), clock=clock)
    keys.unlink()
    if broken is not None:
        keys.write_text(broken)
    for _ in range(3):
        clock.now += CHECK_EVERY_S
        for key in (DIRECTOR, "wrong"):
            with pytest.raises(Rejected) as caught:
                file.caller(f"Bearer {key}")
            assert caught.value.problem.status == 503
    assert log.getvalue().count("keys unreadable") == 1
    assert '"level": "error"' in log.getvalue()
    keys.write_text(good)
    clock.now += CHECK_EVERY_S
    assert file.caller(f"Bearer {DIRECTOR}") is not None


def rewrite(path: Path, content: str) -> None:
    path.write_text(content)


async def test_the_api_follows_its_keys_file(furnished: House, keys: Path) -> None:
    async with opened(furnished.settings(api_keys=keys)) as api:
        assert (await api.client.get("/v1/release", headers=bearer(CLERK))).status_code == 200
        rewrite(keys, yaml.safe_dump({sha(DIRECTOR): {"id": "director"}}))
        api.app.state.service.keys._checked_at -= CHECK_EVERY_S
        assert (await api.client.get("/v1/release", headers=bearer(CLERK))).status_code == 401
        rewrite(keys, "")
        api.app.state.service.keys._checked_at -= CHECK_EVERY_S
        down = await api.client.get("/v1/release", headers=bearer(DIRECTOR))
        assert (down.status_code, down.json()["type"]) == (503, "urn:touchstone:problem:keys-unreadable")
        assert (await api.client.get("/readyz")).status_code == 200


async def test_only_the_owner_of_a_key_is_told_of_places(house: House, keys: Path) -> None:
    shutil.rmtree(house.root / "home" / "indexes")
    async with opened(house.settings(api_keys=keys)) as api:
        anybody = await api.client.get("/readyz", headers=bearer("wrong"))
        owner = await api.client.get("/readyz", headers=bearer(CLERK))
    async with opened(house.settings()) as api:
        keyless = await api.client.get("/readyz")
    assert anybody.json() == keyless.json()
    assert str(house.root) not in anybody.text
    assert anybody.json()["reason"]
    assert str(house.root) in owner.text
