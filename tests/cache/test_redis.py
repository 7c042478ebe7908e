"""What Redis may do to the cache: go away, come back, forget, fill up, be poisoned. Queries go on, and only hits are lost."""

import asyncio
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from redis.asyncio import Redis

from serving.pipeline.breaker import CircuitBreaker
from serving.pipeline.cache.keys import CacheKeys
from serving.pipeline.cache.redis_backend import prefix_of
from serving.pipeline.cache.redis_link import RedisLink
from serving.pipeline.errors import ConfigError
from serving.pipeline.index.build import OpenIndex
from serving.pipeline.pipeline import RagPipeline
from serving.pipeline.redis.address import RedisAddress
from serving.pipeline.settings import PipelineSettings
from serving.pipeline.types import Principal, Query
from tests.cache.making import ENTRY, Maker, context, get, put
from tests.support.pipelines import small_index, small_pipeline
from tests.support.redis import RedisServer, a_secret, patient_with_redis
from tests.support.waiting import eventually


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> OpenIndex:
    return small_index(tmp_path_factory.mktemp("home"))


def settings_for(server: RedisServer, secret: str = "") -> PipelineSettings:
    return PipelineSettings(_env_file=None, redis=server.url, cache_secret=secret or a_secret(), cache_audit=0.0)


def pipeline_on(server: RedisServer, index: OpenIndex, secret: str = "", name: str = "semantic") -> RagPipeline:
    return small_pipeline(index, {"cache.lookup.name": name}, settings=settings_for(server, secret))


async def cached(pipeline: RagPipeline, text: str) -> bool:
    return (await pipeline.answer(Query(text))).cached


async def test_answers_are_shared_between_processes_exactly_and_by_meaning(shared_redis: RedisServer, index: OpenIndex) -> None:
    secret = a_secret()
    one, other = pipeline_on(shared_redis, index, secret), pipeline_on(shared_redis, index, secret)
    first = await one.answer(Query("How many days of paid leave does everyone have?"))
    exact = await other.answer(Query("how many days of paid leave does everyone have"))
    near = await other.answer(Query("How many days of paid leave does everyone have please?"))
    assert exact.cache and (exact.cache.kind, exact.cache.writer) == ("exact", first.id)
    assert near.cache and (near.cache.kind, near.cache.writer) == ("semantic", first.id)
    assert near.answer == first.answer
    assert near.passages == first.passages
    await one.aclose()
    await other.aclose()


async def test_another_deployment_on_the_same_redis_sees_nothing(shared_redis: RedisServer, index: OpenIndex) -> None:
    one, other = pipeline_on(shared_redis, index), pipeline_on(shared_redis, index)
    question = "How many days of paid leave does everyone have?"
    await one.answer(Query(question))
    assert not await cached(other, question)
    await one.aclose()
    await other.aclose()


@pytest.mark.parametrize("stop", ["kill", "pause"])
async def test_redis_that_stops_mid_load_costs_hits_and_nothing_else(
    own_redis: RedisServer, index: OpenIndex, stop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient_with_redis(monkeypatch, 2.0)  # which those wait for that find it silent
    pipeline = pipeline_on(own_redis, index)
    questions = [f"How many days of paid leave does person {number} have?" for number in range(4)]
    assert not await cached(pipeline, questions[0])
    assert await cached(pipeline, questions[0])
    answered: list[bool] = []
    over = asyncio.Event()

    async def load() -> None:
        while not over.is_set():
            trace = await pipeline.answer(Query(questions[len(answered) % len(questions)]))
            assert trace.answer.text.startswith("Everyone has 28 days")
            assert trace.cache
            answered.append(trace.cache.kind in ("exact", "semantic"))  # what is shared in flight needs no Redis
            await asyncio.sleep(0.002)

    async def more(count: int) -> int:
        """How many were answered when so many more are."""
        wanted = len(answered) + count

        def answered_more() -> bool:
            assert not any(worker.done() for worker in workers), "a query failed"
            return len(answered) >= wanted

        await eventually(answered_more)
        return len(answered)

    workers = [asyncio.create_task(load()) for _ in range(4)]
    await more(40)
    link = pipeline.cache._answers.backend.link  # type: ignore[attr-defined]
    getattr(own_redis, stop)()
    await eventually(lambda: link.away)
    during = await more(len(workers))  # those that were under way
    noticed = link.errors
    await more(400)
    assert link.errors - noticed < 40  # it does not try, and pay the time-out, for each query
    assert not any(answered[during:])
    own_redis.start() if stop == "kill" else own_redis.resume()
    await eventually(lambda: cached(pipeline, questions[0]))
    over.set()
    await asyncio.gather(*workers)
    await pipeline.aclose()


async def test_what_redis_forgot_is_a_miss(own_redis: RedisServer, index: OpenIndex) -> None:
    pipeline = pipeline_on(own_redis, index)
    question = "How many days of paid leave does everyone have?"
    await pipeline.answer(Query(question))
    client: Any = Redis.from_url(own_redis.owner_url)
    await client.flushall()
    trace = await pipeline.answer(Query(question + " Please."))
    assert not trace.cached
    assert await cached(pipeline, question + " Please.")
    await eventually(lambda: cached(pipeline, question + " please"))
    await client.aclose()
    await pipeline.aclose()


@pytest.mark.parametrize("policy", ["noeviction", "allkeys-lru"])
async def test_redis_that_is_full_costs_hits_and_nothing_else(own_redis: RedisServer, policy: str) -> None:
    client: Any = Redis.from_url(own_redis.owner_url)
    used = (await client.info("memory"))["used_memory"]
    await client.config_set("maxmemory", used + 700_000)
    await client.config_set("maxmemory-policy", policy)
    cache = Maker("semantic", {"redis": own_redis.url, "cache_secret": a_secret()})()
    large = ENTRY.answer.text * 2000
    for number in range(100):
        await put(cache, Query(f"question {number}"), replace(ENTRY, answer=replace(ENTRY.answer, text=large)))
    found = [(await get(cache, Query(f"question {number}"))).hit is not None for number in range(100)]
    assert 0 < sum(found) < 100
    await client.aclose()
    await cache.aclose()


async def places(client: Any, secret: str, kind: str) -> list[bytes]:
    return [key async for key in client.scan_iter(f"{prefix_of(CacheKeys.of(secret), RedisAddress(''))}:{kind}:*")]


@pytest.mark.parametrize("poison", ["cut", "changed", "moved", "a list", "no JSON", "pickle"])
async def test_a_poisoned_entry_is_a_miss_and_counted(shared_redis: RedisServer, poison: str) -> None:
    secret = a_secret()
    cache = Maker("exact", {"redis": shared_redis.url, "cache_secret": secret})()
    mine, other = Query("mine"), Query("other")
    client: Any = Redis.from_url(shared_redis.owner_url)
    await put(cache, mine)
    [place] = await places(client, secret, "e")
    await put(cache, other)
    data = await client.get(place)
    assert data
    if poison == "moved":  # the answer to another question, sealed by us
        [elsewhere] = [one for one in await places(client, secret, "e") if one != place]
        data = await client.get(elsewhere)
    await client.delete(place)
    if poison == "a list":
        await client.rpush(place, data)
    else:
        ways = {"cut": data[:-20], "changed": data.replace(b"28 days", b"82 days"), "moved": data, "no JSON": b"{", "pickle": b"\x80\x04N."}
        await client.set(place, ways[poison])
    assert (await get(cache, mine)).hit is None
    assert (await get(cache, other)).hit is not None
    assert cache.state().broken == (poison != "a list")
    await put(cache, mine)
    assert (await get(cache, mine)).hit is not None  # it heals
    await client.aclose()
    await cache.aclose()


async def test_a_poisoned_vector_draws_no_question_to_another_answer(shared_redis: RedisServer) -> None:
    secret = a_secret()
    shared = {"redis": shared_redis.url, "cache_secret": secret}
    cache, reader = Maker("semantic", shared)(), Maker("semantic", shared)()
    await put(cache, Query("How many days of leave?"))
    client: Any = Redis.from_url(shared_redis.owner_url)
    [log] = await places(client, secret, "v")
    [(_, item)] = await client.xrange(log)
    aimed = np.asarray(reader._question._embeddings.embed_query("Who may enter the vault?"), dtype="<f2").tobytes()
    await client.xadd(log, {**item, b"v": aimed})
    assert (await get(reader, Query("Who may enter the vault?"))).hit is None
    assert reader.state().broken == 1
    assert (await get(reader, Query("How many days of leave please?"))).hit is not None
    await client.aclose()
    await cache.aclose()
    await reader.aclose()


async def test_nothing_on_redis_tells_a_tenant_a_principal_or_a_secret(shared_redis: RedisServer) -> None:
    secret = a_secret()
    cache = Maker("semantic", {"redis": shared_redis.url, "cache_secret": secret})()
    query = Query("How many days?", Principal("ann@example.com", "acme-tenant", frozenset({"board-group"})))
    await cache.put(query, context(query), ENTRY)
    client: Any = Redis.from_url(shared_redis.owner_url)
    for key in await client.keys("*"):
        kind = await client.type(key)
        if kind == b"none":  # one of another test's, whose time was over
            continue
        value = {
            b"string": client.get,
            b"stream": client.xrange,
            b"zset": lambda one: client.zrange(one, 0, -1),
            b"hash": client.hgetall,
            b"set": client.smembers,
        }
        told = repr(key) + repr(await value[kind](key))
        assert not any(word in told for word in ("ann@example.com", "acme-tenant", "board-group", secret))
    await client.aclose()
    await cache.aclose()


def test_redis_without_a_secret_is_refused_with_the_mend(index: OpenIndex) -> None:
    for secret, words in (("", "one TOUCHSTONE_CACHE_SECRET. Make one: python"), ("short", "has 5 characters; 32 are the least")):
        settings = PipelineSettings(_env_file=None, redis="redis://:hunter2@localhost:6379", cache_secret=secret)
        with pytest.raises(ConfigError, match=words) as caught:
            small_pipeline(index, {"cache.lookup.name": "exact"}, settings=settings)
        assert "hunter2" not in str(caught.value)
        small_pipeline(index, settings=settings)  # no cache, nothing to share
    with pytest.raises(ConfigError, match="an address begins with redis://"):
        wrong = PipelineSettings(_env_file=None, redis="http://:hunter2@localhost", cache_secret=a_secret())
        small_pipeline(index, {"cache.lookup.name": "exact"}, settings=wrong)


async def test_a_password_in_the_address_is_never_logged(index: OpenIndex, caplog: pytest.LogCaptureFixture) -> None:
    settings = PipelineSettings(_env_file=None, redis="redis://app:hunter2@127.0.0.1:1/0", cache_secret=a_secret())
    pipeline = small_pipeline(index, {"cache.lookup.name": "exact"}, settings=settings)
    for _ in range(4):
        await pipeline.answer(Query("How many days?"))
    assert "redis://app:***@127.0.0.1:1/0 is away; queries go on without it" in caplog.text
    assert caplog.text.count("is away") == 1
    assert "hunter2" not in caplog.text + repr(settings)
    await pipeline.aclose()


async def test_answers_are_cleared_by_document_by_configuration_and_all(shared_redis: RedisServer, index: OpenIndex) -> None:
    pipeline = pipeline_on(shared_redis, index, name="exact")
    backend = pipeline.cache._answers.backend  # type: ignore[attr-defined]
    question = "How many days of paid leave?"

    async def again() -> None:
        await pipeline.answer(Query(question))
        assert await cached(pipeline, question)

    await again()
    assert await backend.clear(document="another.md") == 0
    assert await backend.clear(document="leave.md") == 1
    assert not await cached(pipeline, question)
    assert (await backend.size()).entries == {pipeline.config_digest: 1}
    assert await backend.clear(release="another") == 0
    assert await backend.clear(release=pipeline.config_digest) == 1
    await again()
    assert await backend.clear() == 1
    assert (await backend.size()).entries == {}
    await pipeline.aclose()


def test_a_breaker_tries_once_after_each_rest_and_rests_longer_each_time() -> None:
    now = [0.0]
    breaker = CircuitBreaker(lambda: now[0])
    assert breaker.attempt() and breaker.attempt()
    now[0] = 0.25
    assert not breaker.failed(0.0) and not breaker.failed(0.1)  # under way together: one failure, which is none yet
    now[0] = 1.0
    assert breaker.attempt() and breaker.failed(0.5)
    assert breaker.open and not breaker.attempt()
    now[0] = 1.5
    assert breaker.attempt()
    assert not breaker.attempt()  # the others wait for that one
    now[0] = 1.6
    assert not breaker.failed(1.5)
    now[0] = 2.5
    assert not breaker.attempt()
    now[0] = 2.6
    assert breaker.attempt() and breaker.succeeded()
    assert breaker.attempt() and breaker.attempt() and not breaker.open


async def test_a_command_that_loses_a_cancellation_ends_its_task_all_the_same() -> None:
    begun, answer = asyncio.Event(), asyncio.get_running_loop().create_future()

    async def sent(_: Any) -> str:
        begun.set()
        try:
            return await answer  # type: ignore[no-any-return]
        except asyncio.CancelledError:
            return "what `asyncio.wait_for` gives back where both come at once"

    link = RedisLink(RedisAddress.of(PipelineSettings(_env_file=None, redis="redis://127.0.0.1:1/0")))
    task = asyncio.create_task(link.run(sent))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
