"""The shadow audit: what disagrees, when the alarm goes off, and what it lowers."""

import asyncio
import logging
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from serving.pipeline.cache.agreement import disagreement_of
from serving.pipeline.cache.alarm import alarms, log_wealth
from serving.pipeline.cache.answers import AnswerCache
from serving.pipeline.cache.audit import ALPHA
from serving.pipeline.cache.base import CacheHit
from serving.pipeline.index.build import OpenIndex
from serving.pipeline.models.hashing import HashingEmbeddings
from serving.pipeline.pipeline import RagPipeline
from serving.pipeline.settings import PipelineSettings
from serving.pipeline.types import Answer, Citation, Principal, Query, Span, Trace, Usage
from tests.cache.making import ENTRY, Maker, context, put
from tests.support.pipelines import small_index, small_pipeline
from tests.support.redis import RedisServer, a_secret
from tests.support.waiting import eventually


def cited(text: str, *documents: str, refused: bool = False) -> Answer:
    citations = tuple(Citation(number, f"{name}#0", Span(name, 0, 9)) for number, name in enumerate(documents, start=1))
    return Answer(text, citations, refused)


LEAVE = cited("Everyone has 28 days of paid leave [1].", "leave.md")


@pytest.mark.parametrize(
    ("fresh", "similarity", "why"),
    [
        (LEAVE, 1.0, ""),
        (cited("28 days.", "leave.md"), 0.5, ""),
        (cited("28 days; 10 of them may be carried over.", "leave.md"), 0.7, ""),  # it only says more
        (cited("Everyone has 25 days of paid leave [1].", "leave.md"), 0.95, "other numbers or codes"),
        (cited("Nobody has paid leave of 28 days [1].", "leave.md"), 0.9, "one denies what the other says"),
        (cited("I do not know.", refused=True), 0.1, "one of them refuses"),
        (cited("Paid leave is 28 days.", "handbook.md"), 0.9, ""),
        (cited("The canteen opens at noon.", "canteen.md"), 0.35, "other sources and other words"),
        (cited("The canteen opens at noon.", "leave.md"), 0.1, "other words"),
    ],
)
def test_what_counts_as_a_disagreement(fresh: Answer, similarity: float, why: str) -> None:
    assert disagreement_of(LEAVE, fresh, similarity) == why
    assert disagreement_of(fresh, LEAVE, similarity) == why


def test_the_wealth_of_the_bet_by_hand() -> None:
    stakes = np.arange(1, 64) / 64
    by_hand = np.mean((1 - stakes) ** 2 * (1 + stakes * 0.9 / 0.1))
    assert log_wealth(3, 1, 0.1) == pytest.approx(math.log(by_hand))
    assert log_wealth(0, 0, 0.1) == pytest.approx(0.0)
    assert np.isfinite(log_wealth(100_000, 0, 0.05))


def test_the_wealth_gains_nothing_on_average_at_the_tolerated_rate() -> None:
    for tolerated in (0.02, 0.05, 0.3):
        for audits in (1, 5, 12):
            chances = [math.comb(audits, bad) * tolerated**bad * (1 - tolerated) ** (audits - bad) for bad in range(audits + 1)]
            mean = sum(chance * math.exp(log_wealth(audits, bad, tolerated)) for bad, chance in enumerate(chances))
            assert mean == pytest.approx(1.0)


@pytest.mark.parametrize("tolerated", [0.02, 0.05])
def test_false_alarms_stay_below_alpha_however_often_one_looks_and_true_ones_come_soon(tolerated: float) -> None:
    chance = np.random.default_rng(11)
    runs, looks = 2000, 600

    def alarmed(rate: float, runs: int) -> list[int]:
        found = []
        for disagreed in (chance.random((runs, looks)) < rate).cumsum(axis=1):
            changes = np.flatnonzero(np.diff(disagreed, prepend=0))  # an alarm can only go off at a disagreement
            first = (look + 1 for look in changes if alarms(int(look) + 1, int(disagreed[look]), tolerated=tolerated, alpha=ALPHA))
            found.append(next((int(look) for look in first), 0))
        return found

    false = np.mean([look > 0 for look in alarmed(tolerated, runs)])
    assert 0 < false <= ALPHA + 2 * math.sqrt(ALPHA * (1 - ALPHA) / runs)
    soon = alarmed(5 * tolerated, 200)
    assert all(soon)
    assert np.median(soon) < 120


async def step(answers: AnswerCache, disagreements: int) -> None:
    before = answers.audit.reach()
    for _ in range(disagreements):
        if answers.audit.reach() == before:
            await answers.audit.judged(answers.backend.reach("config"), True, "other numbers")


async def test_each_alarm_lowers_the_reach_by_a_step_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    asked, near = Query("How many days of paid leave?"), Query("How many days of paid leave please?")
    one, two = HashingEmbeddings(64).vectors([asked.text, near.text])
    cache = Maker("semantic", {})(threshold=float(one @ two) - 0.01, scorer="cosine")
    await put(cache, asked)
    found: list[tuple[str, str, str]] = []
    for _ in range(4):
        told = []
        for query in (asked, near):
            lookup = await cache.get(query, context(query))
            lookup.flight.end()
            told.append(lookup.hit.kind if lookup.hit else lookup.reason.partition(":")[0])
        found.append((cache.audit.reach(), *told))
        await step(cache._answers, 40)
    assert found == [
        ("full", "exact", "semantic"),
        ("raised", "exact", "reach"),
        ("exact", "exact", "reach"),
        ("off", "reach", "reach"),
    ]
    warnings = [record.getMessage() for record in caplog.records]
    assert len(warnings) == 3
    assert warnings[0].startswith("The cache reaches less far: raised, was full. ")
    assert "more than the 20.0% tolerated" in warnings[0]


async def test_the_reach_is_known_to_every_process_and_survives_a_flush(own_redis: RedisServer) -> None:
    shared = {"redis": own_redis.url, "cache_secret": a_secret()}
    one, other = Maker("exact", shared)(), Maker("exact", shared)()
    for cache, times in ((one, 2), (other, 2)):  # neither alone has seen enough of them
        for _ in range(times):
            await cache.audit.judged(0, True)
    await other.audit.judged(0, True)
    query = Query("How many days?")
    assert (await one.get(query, context(query))).reason == "reach: off"
    client: Any = __import__("redis.asyncio").asyncio.Redis.from_url(own_redis.owner_url)
    await client.flushall()
    assert (await one.get(query, context(query))).reason == "reach: off"
    await eventually(client.dbsize)  # they write it again, and keep no question waiting for that
    third = Maker("exact", shared)()
    assert (await third.get(query, context(query))).reason == "reach: off"
    await third._answers.backend.restore("config")
    for cache in (one, other, third):
        lookup = await cache.get(query, context(query))
        assert lookup.reason == "new"
        lookup.flight.end()
        await cache.aclose()
    await client.aclose()


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> OpenIndex:
    return small_index(tmp_path_factory.mktemp("home"))


def audited_pipeline(index: OpenIndex, *, per_hour: int = 60, share: float = 1.0) -> RagPipeline:
    settings = PipelineSettings(_env_file=None, cache_audit=share, cache_audits_per_hour=per_hour)
    return small_pipeline(index, {"cache.lookup.name": "semantic"}, settings=settings)


async def settle(pipeline: RagPipeline) -> Any:
    audit = pipeline.cache.audit  # type: ignore[attr-defined]
    await asyncio.gather(*audit._tasks)
    return audit.counts


class Spending:
    """An observer that keeps what was spent beside traces."""

    def __init__(self) -> None:
        self.usage: list[Usage] = []
        self.traces: list[Trace] = []

    def stage_started(self, query: Query, stage: str) -> None: ...

    def stage_finished(self, query: Query, record: Any) -> None: ...

    def answered(self, trace: Trace) -> None:
        self.traces.append(trace)

    def failed(self, query: Query, error: BaseException) -> None: ...

    def spent(self, query: Query, usage: Usage) -> None:
        self.usage.append(usage)


ASKED, NEAR = Query("How many days of paid leave does everyone have?"), Query("How many days of paid leave does everyone have please?")


async def test_a_sampled_hit_is_answered_anew_beside_the_query_and_its_cost_is_told(index: OpenIndex) -> None:
    pipeline, spending = audited_pipeline(index), Spending()
    await pipeline.answer(ASKED)
    trace = await pipeline.answer(NEAR, observer=spending)
    assert trace.cache and trace.cache.kind == "semantic"
    assert trace.usage == ()
    counts = await settle(pipeline)
    assert (counts.agreed, counts.disagreed, counts.unjudged) == (1, 0, 0)
    await asyncio.sleep(0)
    assert [usage.stage for usage in spending.usage] == ["audit"]
    assert len(spending.traces) == 1
    await pipeline.answer(ASKED)  # an exact hit is not audited while the cache reaches further
    assert (await settle(pipeline)).agreed == 1


async def test_an_audit_asks_with_the_rights_of_who_asked(index: OpenIndex) -> None:
    pipeline = audited_pipeline(index)
    seen: list[Principal] = []
    inner = pipeline.retriever.retrieve

    class Watching:
        async def retrieve(self, query: Query) -> Any:
            seen.append(query.principal)
            return await inner(query)

    pipeline = replace(pipeline, retriever=Watching())
    director = Principal("d", groups=frozenset({"board"}))
    await pipeline.answer(replace(ASKED, principal=director))
    await pipeline.answer(replace(NEAR, principal=director))
    await settle(pipeline)
    assert seen == [director, director]


async def test_audits_are_bounded_by_share_number_and_one_at_a_time(index: OpenIndex) -> None:
    for bounds, most in (({"share": 0.0}, 0), ({"per_hour": 2}, 2)):
        pipeline = audited_pipeline(index, **bounds)
        await pipeline.answer(ASKED)
        for _ in range(5):
            await pipeline.answer(NEAR)
            await settle(pipeline)
        assert pipeline.cache.audit.counts.agreed == most  # type: ignore[attr-defined]
    pipeline = audited_pipeline(index)
    hit = CacheHit(ENTRY, kind="semantic")
    never = asyncio.Event()

    async def stalls() -> None:
        await never.wait()

    audit = pipeline.cache.audit  # type: ignore[attr-defined]
    assert await audit.offer(hit, stalls) is not None
    assert await audit.offer(hit, stalls) is None
    await pipeline.aclose()


async def test_an_audit_that_fails_breaks_nothing_and_decides_nothing(index: OpenIndex) -> None:
    pipeline = audited_pipeline(index)

    async def fails() -> None:
        raise RuntimeError("the model is away")

    await pipeline.cache.audit.offer(CacheHit(ENTRY, kind="semantic"), fails)  # type: ignore[attr-defined]
    counts = await settle(pipeline)
    assert (counts.agreed, counts.disagreed, counts.unjudged) == (0, 0, 1)
    assert pipeline.cache.audit.reach() == "full"  # type: ignore[attr-defined]
