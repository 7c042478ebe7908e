import hashlib
from pathlib import Path

import pytest
import yaml

from serving.app.core.auth import read_keys
from serving.app.main import create_app
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
        ("", "valid dictionary"),
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
