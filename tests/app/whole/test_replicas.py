"""Two replicas over S3, DynamoDB and Redis answer as one service."""

import asyncio
import itertools
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import pytest

from serving.keys import SCOPES, Caller, create_key
from tests.app.making import QUESTION, config
from tests.app.whole.replicas import Estate, Replica, bearer, replica
from tests.support.dynamodb import a_table
from tests.support.redis import RedisServer, a_secret, running_redis
from tests.support.waiting import until

pytestmark = pytest.mark.slow

FIRST, SECOND = "Everyone has 28 days of paid leave a year [1].", "Twenty-eight days [1]."


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    yield from running_redis(tmp_path)


@pytest.fixture
def estate(tmp_path: Path, s3_server: str, s3_bucket: str, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> Estate:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    table = f"traces-{uuid4().hex[:12]}"
    a_table(s3_server, table)
    shared = {
        "TOUCHSTONE_S3_ENDPOINT": s3_server,
        "TOUCHSTONE_RELEASES": f"s3://{s3_bucket}/releases",
        "TOUCHSTONE_INDEXES": f"s3://{s3_bucket}/indexes",
        "TOUCHSTONE_DOCUMENTS": f"s3://{s3_bucket}/documents",
        "TOUCHSTONE_TRACES": f"dynamodb:{table}",
        "TOUCHSTONE_DYNAMODB_ENDPOINT": s3_server,
        "TOUCHSTONE_REDIS": redis_server.url,
        "TOUCHSTONE_CACHE_SECRET": a_secret(),
        "TOUCHSTONE_API_KEYS": str(tmp_path / "keys.yaml"),
        "TOUCHSTONE_CACHE_AUDIT": "0",
    }
    return Estate(tmp_path, s3_bucket, shared)


def the_two(stack: ExitStack, estate: Estate, digest: str) -> tuple[Replica, Replica]:
    one, other = (stack.enter_context(replica(estate, name, module="tests.app.whole.patient_server")) for name in ("one", "other"))
    until(lambda: one.serves(digest) and other.serves(digest))
    return one, other


def test_two_replicas_share_releases_answers_limits_budgets_and_traces_and_one_outlives_the_other(estate: Estate) -> None:
    cached = {"cache.lookup": {"name": "exact"}}
    first = asyncio.run(estate.release(config(FIRST, **cached)))
    second = asyncio.run(estate.release(config(SECOND, **cached)))
    estate.promote(first)
    keys = estate.root / "keys.yaml"
    key = create_key(keys, Caller(id="reader"))
    hurried = create_key(keys, Caller(id="hurried", per_minute=4))
    with ExitStack() as stack:
        one, other = the_two(stack, estate, first)

        here = one.ask(QUESTION, key).json()
        there = other.ask(QUESTION, key).json()
        assert (here["answer"], here["release"], here["cached"]) == (FIRST, first, False)
        assert (there["answer"], there["release"], there["cached"]) == (FIRST, first, True)
        assert there["cache"]["trace_id"] == here["trace_id"]

        turns = itertools.cycle((one, other))
        statuses = [next(turns).ask(QUESTION, hurried).status_code for _ in range(6)]
        assert statuses == [200, 200, 200, 200, 429, 429]

        price = here["usage"]["usd"]
        assert price > 0
        poor = create_key(keys, Caller(id="poor", usd_per_day=3.5 * price))
        until(lambda: one.ask("Who knows this key?", poor).status_code != 401)  # the file is looked at once a second
        until(lambda: other.client.get("/v1/release", headers=bearer(poor)).status_code == 200)
        paid = [next(turns).ask(f"Question {number}?", poor) for number in range(8)]
        spent = [answer.json()["usage"]["usd"] for answer in paid if answer.status_code == 200]
        assert {answer.status_code for answer in paid} == {200, 429}
        assert len(spent) < 6  # each with a budget of its own would let twice as many pass
        assert sum(spent) <= 4.5 * price * 1.2  # the limit and one question more; questions differ by some words

        until(lambda: other.client.get(f"/v1/traces/{here['trace_id']}", headers=bearer(key)).status_code == 200)
        said = other.client.post(
            "/v1/feedback", json={"trace_id": here["trace_id"], "kind": "correction", "text": "27 days"}, headers=bearer(key)
        )
        assert said.status_code == 200
        journey = one.client.get(f"/v1/traces/{here['trace_id']}", headers=bearer(key)).json()
        assert [one["text"] for one in journey["feedback"]] == ["27 days"]

        estate.promote(second)
        until(lambda: one.serves(second) and other.serves(second))
        assert {(each.ask(QUESTION, key).json()["answer"], each.ask(QUESTION, key).json()["release"]) for each in (one, other)} == {
            (SECOND, second)
        }

        one.kill()
        left = other.ask(QUESTION, key)
        assert (left.status_code, left.json()["answer"]) == (200, SECOND)
        assert other.client.get("/readyz").status_code == 200
        estate.promote(first)
        until(lambda: other.serves(first))


def test_a_document_given_to_one_replica_is_found_by_the_other_and_gone_from_both(estate: Estate) -> None:
    digest = asyncio.run(estate.release(config(FIRST)))
    estate.promote(digest)
    key = create_key(estate.root / "keys.yaml", Caller(id="librarian", scopes=frozenset(SCOPES)))
    with ExitStack() as stack:
        one, other = the_two(stack, estate, digest)
        text = b"# Zeppelins\n\nThe zeppelin of the company is moored in Friedrichshafen and leaves on the first Sunday of May."
        given = one.client.post("/v1/documents", files={"file": ("zeppelin.md", text, "text/markdown")}, headers=bearer(key))
        assert given.status_code == 202, given.text
        ident = given.json()["id"]

        def found(by: Replica) -> bool:
            body = {"question": "Where is the zeppelin moored?"}
            passages = by.client.post("/v1/retrieve", json=body, headers=bearer(key)).json()["passages"]
            return any("Friedrichshafen" in passage["text"] for passage in passages)

        until(lambda: found(one) and found(other))
        assert other.client.delete(f"/v1/documents/{ident}", headers=bearer(key)).status_code == 204
        until(lambda: not found(one) and not found(other))
