import asyncio
import io
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as trying
from hypothesis import strategies as st

from serving.app.core.budget import EVERYBODY, Account, BudgetLedger, Budgets, MemoryLedger
from serving.app.core.problems import Rejected
from serving.app.core.redis_ledger import RedisLedger
from serving.app.core.telemetry import make_logger
from serving.app.settings import AppSettings
from serving.keys import Caller, create_key
from serving.pipeline.errors import InfrastructureError, StoreError
from serving.pipeline.redis.address import RedisAddress
from serving.pipeline.types import Query, Usage
from tests.app.core.test_auth import bearer
from tests.app.making import QUESTION, House, opened
from tests.support.redis import patient_with_redis, running_redis
from tests.support.waiting import eventually

DAY, LATE = "2026-11-01", datetime(2026, 11, 1, 23, 59, tzinfo=UTC)
LONG_S = 3600.0  # how long what is set aside counts


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Redis of the tests' own, with which everybody has patience."""
    with pytest.MonkeyPatch.context() as patch:
        patient_with_redis(patch)
        for server in running_redis(tmp_path_factory.mktemp("redis")):
            yield server.url


async def test_what_is_set_aside_counts_until_it_is_settled_or_its_time_is_over() -> None:
    clock = Clock()
    ledger, account = MemoryLedger(clock), Account("a", 1.0)
    assert await ledger.reserve(account, DAY, "one", 0.6, 10)
    assert await ledger.reserve(account, DAY, "two", 0.6, 10)  # the last one goes beyond
    assert not await ledger.reserve(account, DAY, "three", 0.01, 10)
    await ledger.settle("a", DAY, "one", 0.1)
    assert await ledger.reserve(account, DAY, "three", 0.1, 10)
    clock.now += 10
    assert await ledger.spent("a", DAY) == pytest.approx(0.1)
    assert await ledger.reserve(account, DAY, "four", 0.8, 10)  # those of a process that died are forgotten
    assert await ledger.reserve(account, "2026-11-02", "five", 0.8, 10)


async def test_the_ledger_on_redis_says_the_same(redis_url: str) -> None:
    ledger, account = RedisLedger(RedisAddress(redis_url)), Account("b", 1.0)
    assert await ledger.reserve(account, DAY, "one", 0.6, LONG_S)
    assert await ledger.reserve(account, DAY, "two", 0.6, LONG_S)
    assert not await ledger.reserve(account, DAY, "three", 0.01, LONG_S)
    await ledger.settle("b", DAY, "one", 0.25)
    await ledger.settle("b", DAY, "two", 0.25)
    await ledger.settle("b", DAY, "", 0.125)
    assert await ledger.spent("b", DAY) == pytest.approx(0.625)
    assert await ledger.reserve(account, DAY, "four", 0.6, 0.2)
    await eventually(lambda: ledger.reserve(account, DAY, "five", 0.1, LONG_S))  # its time is over
    await ledger.close()


async def _replicas(ledgers: list[BudgetLedger], limit: float, costs: list[float], name: str) -> tuple[float, int]:
    """Questions at the same time over several replicas: what they spent, and how many were let in."""
    most, spent, let_in = max(costs), 0.0, 0

    async def ask(place: int, cost: float) -> None:
        nonlocal spent, let_in
        ledger = ledgers[place % len(ledgers)]
        if not await ledger.reserve(Account(name, limit), DAY, f"{name}-{place}", most, LONG_S):
            return
        let_in += 1
        await asyncio.sleep(0)
        spent += cost
        await ledger.settle(name, DAY, f"{name}-{place}", cost)

    await asyncio.gather(*(ask(place, cost) for place, cost in enumerate(costs)))
    return spent, let_in


@given(st.lists(st.floats(0.01, 1.0), min_size=1, max_size=40), st.floats(0.0, 5.0))
def test_of_concurrent_questions_at_most_one_goes_beyond_the_budget(costs: list[float], limit: float) -> None:
    ledger = MemoryLedger(Clock())
    spent, let_in = asyncio.run(_replicas([ledger, ledger], limit, costs, "a"))
    assert spent <= limit + max(costs) + 1e-9  # of sums of floats
    assert (let_in == 0) == (limit == 0.0)


@pytest.mark.slow
@trying(max_examples=15)
@given(costs=st.lists(st.floats(0.01, 1.0), min_size=2, max_size=30), limit=st.floats(0.1, 5.0), name=st.uuids())
def test_of_concurrent_questions_over_replicas_at_most_one_goes_beyond_the_budget(
    redis_url: str, costs: list[float], limit: float, name: Any
) -> None:
    async def run() -> float:
        ledgers: list[BudgetLedger] = [RedisLedger(RedisAddress(redis_url)) for _ in range(3)]
        spent, _ = await _replicas(ledgers, limit, costs, str(name))
        for ledger in ledgers:
            await ledger.close()
        return spent

    assert asyncio.run(run()) <= limit + max(costs) + 1e-9


def budgets(ledger: BudgetLedger, log: io.StringIO | None = None, **changes: Any) -> Budgets:
    given: dict[str, Any] = {
        "server_usd": None,
        "lasts_s": 60,
        "local": MemoryLedger(Clock()),
        "now": lambda: datetime(2026, 11, 1, 23, 59, tzinfo=UTC),
    }
    return Budgets(ledger, make_logger(AppSettings(_env_file=None), log or io.StringIO()), **(given | changes))


async def test_what_a_question_cost_is_counted_once_also_when_it_fails_or_ends_late() -> None:
    ledger = MemoryLedger(Clock())
    of, caller, query = budgets(ledger, server_usd=10.0), Caller(id="ann", usd_per_day=1.0), Query("q")
    with pytest.raises(ValueError, match="boom"):
        async with of.question(caller, 0.5) as reservation:
            reservation.spent(query, Usage("m", usd=0.2))
            raise ValueError("boom")
    reservation.spent(query, Usage("m", usd=0.1))  # of a call that nobody waited for
    await asyncio.gather(*of._tasks)
    assert await of.spent("public/ann") == pytest.approx(0.3)
    assert await of.spent(EVERYBODY) == pytest.approx(0.3)


async def test_a_spent_budget_is_a_429_until_midnight_and_sets_nothing_aside_elsewhere() -> None:
    ledger = MemoryLedger(Clock())
    of, poor = budgets(ledger, server_usd=1.0), Caller(id="poor", usd_per_day=0.0)
    with pytest.raises(Rejected) as caught:
        async with of.question(poor, 0.5):
            pass
    assert (caught.value.problem.status, caught.value.problem.headers["Retry-After"]) == (429, "60")
    async with of.question(Caller(id="rich"), 0.5):
        with pytest.raises(Rejected):
            async with of.question(poor, 0.5):
                pass
    assert await of.spent(EVERYBODY) == 0.0


async def test_money_that_is_only_set_aside_may_come_back_within_moments() -> None:
    of, ann = budgets(MemoryLedger(Clock())), Caller(id="ann", usd_per_day=1.0)
    async with of.question(ann, 1.0):
        with pytest.raises(Rejected) as caught:
            async with of.question(ann, 1.0):
                pass
    assert caught.value.problem.kind == "budget-reserved"
    assert int(caught.value.problem.headers["Retry-After"]) < 60
    async with of.question(ann, 1.0) as reservation:
        reservation.spent(Query("q"), Usage("m", usd=1.0))
    with pytest.raises(Rejected) as caught:
        async with of.question(ann, 1.0):
            pass
    assert caught.value.problem.kind == "budget-spent"


class Out:
    """A ledger that does not answer."""

    async def reserve(self, *given: Any) -> bool:
        raise StoreError("Redis does not answer.")

    async def settle(self, *given: Any) -> None:
        raise StoreError("Redis does not answer.")

    async def spent(self, *given: Any) -> float:
        raise StoreError("Redis does not answer.")

    async def close(self) -> None:
        """Nothing."""


async def test_without_the_shared_ledger_each_process_counts_for_itself_and_says_so_once() -> None:
    log = io.StringIO()
    of, caller = budgets(Out(), log), Caller(id="ann", usd_per_day=1.0)
    for _ in range(2):
        async with of.question(caller, 0.5) as reservation:
            reservation.spent(Query("q"), Usage("m", usd=0.5))
    with pytest.raises(Rejected):
        async with of.question(caller, 0.5):
            pass
    assert log.getvalue().count("budgets not shared") == 1
    assert await of.spent_or_own("public/ann") == pytest.approx(1.0)


async def test_a_key_with_a_budget_is_turned_away_at_every_door_when_it_is_spent(furnished: House, tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    poor, rich = create_key(path, Caller(id="poor", usd_per_day=0.0)), create_key(path, Caller(id="rich", usd_per_day=100.0))
    async with opened(furnished.settings(api_keys=path, traces=str(tmp_path / "t.db"))) as api:
        doors: list[tuple[str, dict[str, Any]]] = [
            ("/v1/query", {"question": QUESTION}),
            ("/v1/query/stream", {"question": QUESTION}),
            ("/v1/chat/completions", {"messages": [{"role": "user", "content": QUESTION}]}),
            ("/v1/responses", {"input": QUESTION}),
        ]
        answers = {door: [await api.client.post(door, json=body, headers=bearer(key)) for key in (poor, rich)] for door, body in doors}
        spent = await api.app.state.service.budgets.spent("public/rich")
        found = await api.client.post("/v1/retrieve", json={"question": QUESTION}, headers=bearer(poor))
    assert {door: [answer.status_code for answer in pair] for door, pair in answers.items()} == {door: [429, 200] for door, _ in doors}
    assert answers["/v1/query"][0].json()["type"] == "urn:touchstone:problem:budget-spent"
    assert spent == pytest.approx(answers["/v1/query"][1].json()["usage"]["usd"] * len(doors))
    assert found.status_code == 200  # which asks no model


def test_the_time_to_midnight_is_never_nothing() -> None:
    for moment in (datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 11, 1, 23, 59, 59, 999_999, tzinfo=UTC)):
        assert (
            1
            <= budgets(MemoryLedger(Clock()), now=lambda moment=moment: moment)._seconds_to_midnight()
            <= timedelta(days=1).total_seconds()
        )


@pytest.mark.parametrize("fault", [OSError("no route to host"), TimeoutError()])
async def test_whatever_keeps_the_shared_ledger_from_answering_is_an_outage(fault: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = RedisLedger(RedisAddress("redis://127.0.0.1:1"))

    async def fail(*given: object) -> None:
        raise fault

    monkeypatch.setattr(ledger._redis, "get", fail)
    with pytest.raises(InfrastructureError):
        await ledger.spent("server", DAY)
    await ledger.close()
