"""Equal questions at the same time cost one answer, in process and across processes."""

import asyncio
import multiprocessing
import os
import signal
from dataclasses import dataclass
from typing import Any

import pytest

from serving.pipeline.cache import answers, redis_flights
from serving.pipeline.cache.base import CacheLookup
from serving.pipeline.cache.flights import Flights
from serving.pipeline.cache.redis_flights import RedisFlights
from serving.pipeline.index.build import OpenIndex
from serving.pipeline.settings import PipelineSettings
from serving.pipeline.types import Query, Trace
from tests.cache.making import ENTRY, EVERY, Maker, context, make
from tests.support.pipelines import small_index, small_pipeline
from tests.support.redis import RedisServer, a_secret, patient_with_redis
from tests.support.waiting import WITHIN_S, eventually

QUERY = Query("How many days of paid leave?")


@pytest.fixture(params=EVERY)
def made(request: pytest.FixtureRequest) -> Maker:
    return make(request.param, request)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> OpenIndex:
    return small_index(tmp_path_factory.mktemp("home"))


async def look(cache: Any) -> CacheLookup:
    return await cache.get(QUERY, context(QUERY))  # type: ignore[no-any-return]


def two(made: Maker) -> tuple[Any, Any]:
    """Two caches of two processes, where they can share; else one cache for both."""
    first = made()
    return first, made() if made.shared else first


@pytest.fixture(autouse=True)
def long_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leases and patience that do not run out within a test: whoever leads next was handed the lead."""
    monkeypatch.setattr(redis_flights, "LEASE_MS", 600_000)
    monkeypatch.setattr(redis_flights, "_SHARED_MS", 600_000)
    monkeypatch.setattr(answers, "WAIT_S", 600.0)


@dataclass
class Joined:
    """How many have joined a flight: its leader, and those who wait; and how often one waited for the leader of another process."""

    shared: bool
    here: int = 0
    elsewhere: int = 0

    async def wait_for(self, here: int, elsewhere: int = 1) -> None:
        """Until so many wait in this process, of whom one has asked for the answer of the other so many times."""
        await eventually(lambda: self.here == 1 + here and (not self.shared or self.elsewhere == elsewhere))


@pytest.fixture
def joined(made: Maker, monkeypatch: pytest.MonkeyPatch) -> Joined:
    found, join, awaited = Joined(bool(made.shared)), Flights.join, RedisFlights._awaited

    async def joining(*given: Any) -> Any:
        found.here += 1
        return await join(*given)

    async def awaiting(*given: Any) -> Any:
        found.elsewhere += 1
        return await awaited(*given)

    monkeypatch.setattr(Flights, "join", joining)  # nothing else tells that somebody waits
    monkeypatch.setattr(RedisFlights, "_awaited", awaiting)
    return found


async def settled(*caches: Any) -> None:
    for cache in caches:
        await cache.aclose()


async def test_whoever_asks_meanwhile_waits_and_is_given_the_answer(made: Maker, joined: Joined) -> None:
    one, other = two(made)
    lead = await look(one)
    waiting = asyncio.create_task(look(other))
    await joined.wait_for(1)
    assert not waiting.done()
    async with lead.flight:
        await lead.flight.share(ENTRY)
    hit = (await waiting).hit
    assert hit is not None
    assert (hit.kind, hit.entry) == ("shared", ENTRY)
    await settled(one, other)


async def test_a_leader_that_fails_hands_over_to_one_of_those_who_wait(made: Maker, joined: Joined) -> None:
    one, other = two(made)
    lead = await look(one)
    waiting = [asyncio.create_task(look(other)) for _ in range(3)]
    await joined.wait_for(3)
    with pytest.raises(ValueError, match="no answer"):
        async with lead.flight:
            raise ValueError("no answer")
    done, still = await asyncio.wait(waiting, timeout=WITHIN_S, return_when=asyncio.FIRST_COMPLETED)
    [second] = [task.result() for task in done]
    assert second.hit is None
    assert len(still) == 2  # they wait for the new leader
    await second.flight.share(ENTRY)
    assert {task.result().hit.kind for task in (await asyncio.wait(still))[0]} == {"shared"}  # type: ignore[union-attr]
    await settled(one, other)


async def test_a_leader_that_is_cancelled_hands_over(made: Maker, joined: Joined) -> None:
    one, other = two(made)

    led = asyncio.Event()

    async def leads() -> None:
        async with (await look(one)).flight:
            led.set()
            await asyncio.Event().wait()

    leader = asyncio.create_task(leads())
    await asyncio.wait_for(led.wait(), WITHIN_S)
    waiting = asyncio.create_task(look(other))
    await joined.wait_for(1)
    leader.cancel()
    lookup = await asyncio.wait_for(waiting, WITHIN_S)
    assert lookup.hit is None
    lookup.flight.end()
    await settled(one, other)


async def test_one_who_waits_and_is_cancelled_leaves_the_others_waiting(made: Maker, joined: Joined) -> None:
    one, other = two(made)
    lead = await look(one)
    first = asyncio.create_task(look(other))
    await joined.wait_for(1)  # the first is the one who asks elsewhere
    second = asyncio.create_task(look(other))
    await joined.wait_for(2)
    first.cancel()
    await joined.wait_for(2, elsewhere=2)  # the other one asks in its place
    assert not second.done()
    await lead.flight.share(ENTRY)
    assert (await asyncio.wait_for(second, WITHIN_S)).hit is not None
    await settled(one, other)


async def test_a_flight_that_is_forgotten_ends() -> None:
    cache = Maker("exact", {})()
    await look(cache)  # and nobody ends it
    assert (await asyncio.wait_for(look(cache), WITHIN_S)).hit is None


async def test_a_stampede_costs_one_call_and_the_traces_say_who_waited(index: OpenIndex, shared_redis: RedisServer) -> None:
    shared: dict[str, Any] = {"redis": shared_redis.url, "cache_secret": a_secret()}
    for settings in (PipelineSettings(_env_file=None), PipelineSettings(_env_file=None, **shared)):
        pipelines = [small_pipeline(index, {"cache.lookup.name": "semantic"}, settings=settings) for _ in range(3 if settings.redis else 1)]
        pieces: list[str] = []
        asked = [pipelines[number % len(pipelines)].answer(QUERY, emit=pieces.append) for number in range(12)]
        traces: list[Trace] = await asyncio.gather(*asked)
        assert sum(bool(trace.usage) for trace in traces) == 1
        kinds = [trace.cache.kind for trace in traces if trace.cache]
        assert sorted(set(kinds)) in (["", "shared"], ["", "exact", "shared"])
        assert kinds.count("") == 1
        assert {trace.answer.text for trace in traces} == {traces[0].answer.text}
        assert "".join(pieces).count(traces[0].answer.text) == 12  # who streams reads it as well
        for pipeline in pipelines:
            await pipeline.aclose()


def lead_and_stall(url: str, secret: str, told: Any) -> None:
    async def stall() -> None:
        patient_with_redis(pytest.MonkeyPatch())
        cache = Maker("exact", {"redis": url, "cache_secret": secret})()
        lookup = await look(cache)
        assert lookup.hit is None
        told.set()
        await asyncio.sleep(3600)
        lookup.flight.end()

    asyncio.run(stall())


async def test_a_leader_killed_with_its_process_hangs_nobody(shared_redis: RedisServer) -> None:
    secret = a_secret()
    spawn = multiprocessing.get_context("spawn")
    told = spawn.Event()
    leader = spawn.Process(target=lead_and_stall, args=(shared_redis.url, secret, told))
    leader.start()
    assert await asyncio.to_thread(told.wait, WITHIN_S)
    cache = Maker("exact", {"redis": shared_redis.url, "cache_secret": secret})()
    waiting = asyncio.create_task(look(cache))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    assert leader.pid
    os.kill(leader.pid, signal.SIGKILL)
    lookup = await asyncio.wait_for(waiting, WITHIN_S)
    assert lookup.hit is None
    lookup.flight.end()
    await cache.aclose()
    await asyncio.to_thread(leader.join)


async def test_a_refusal_is_shared_with_those_who_wait_and_not_kept(index: OpenIndex) -> None:
    pipeline = small_pipeline(index, {"cache.lookup.name": "exact"})
    query = Query("How many days of paid leave?", domains=("nowhere",))
    traces = await asyncio.gather(*(pipeline.answer(query) for _ in range(4)))
    assert all(trace.answer.refused for trace in traces)
    assert sorted(trace.cache.kind for trace in traces if trace.cache) == ["", "shared", "shared", "shared"]
    assert (await pipeline.answer(query)).cache.hit is False  # type: ignore[union-attr]


async def test_without_redis_each_process_still_makes_one_call_of_a_stampede(index: OpenIndex) -> None:
    away = PipelineSettings(_env_file=None, redis="redis://127.0.0.1:1/0", cache_secret=a_secret())
    pipeline = small_pipeline(index, {"cache.lookup.name": "exact"}, settings=away)
    traces = await asyncio.gather(*(pipeline.answer(QUERY) for _ in range(6)))
    assert sum(bool(trace.usage) for trace in traces) == 1
    await pipeline.aclose()
