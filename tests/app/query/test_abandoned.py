"""What becomes of the provider's calls when nobody waits for the answer any more."""

import asyncio
import contextlib
import json
from pathlib import Path

import pytest

from serving.pipeline.models.connect import connect_chat
from serving.pipeline.models.rate_limit import rate_limiter_of
from serving.pipeline.registry import Spec
from tests.app.making import QUESTION, House, config
from tests.app.real import Listening, listening, status
from tests.support.paid import SAYS, Till, new_till
from tests.support.waiting import eventually

BLOCKING, ASYNCHRONOUS = "tests.support.paid:BlockingChat", "tests.support.paid:AsynchronousChat"
BODY = json.dumps({"question": QUESTION}).encode()
CALL_USD = (100 * 1.0 + 10 * 2.0) / 1_000_000


@pytest.fixture
def till(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Till:
    price = {"valid_from": "2026-01-01", "usd_per_million_input": 1.0, "usd_per_million_output": 2.0}
    (tmp_path / "prices.json").write_text(json.dumps({"date": "2026-11-01", "models": {BLOCKING: price, ASYNCHRONOUS: price}}))
    monkeypatch.setenv("TOUCHSTONE_PRICES", str(tmp_path / "prices.json"))
    return new_till()


async def paid(house: House, model: str) -> None:
    rate_limiter_of.cache_clear()
    await house.release(config(**{"answer.models.lite.name": model}))


def head(path: str) -> bytes:
    lines = ["POST {} HTTP/1.1", "Host: a", "Content-Type: application/json", "Content-Length: {}", "Connection: close", "", ""]
    return "\r\n".join(lines).format(path, len(BODY)).encode()


async def hang_up_on(server: Listening, times: int, path: str, till: Till, begun: int) -> None:
    """Ask so many times, and be gone once so many calls have been begun and before any answer."""
    writers = []
    for _ in range(times):
        _, writer = await server.connect()
        writer.write(head(path) + BODY)
        writers.append(writer)
    await till.until("begun", begun)
    for writer in writers:
        writer.close()
    for writer in writers:
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def metric(server: Listening, name: str) -> float:
    return sum(float(line.rpartition(" ")[2]) for line in await server.api.metric(name))


async def settled(server: Listening) -> None:
    """Wait until no question holds a place."""
    await eventually(lambda: not server.api.app.state.service.concurrency.running)


def bounded(house: House, **changes: object) -> object:
    return house.settings(model_concurrency=4, max_running=8, max_waiting=200, **changes)


@pytest.mark.slow
@pytest.mark.parametrize("path", ["/v1/query", "/v1/query/stream"])
async def test_abandoned_questions_hold_their_places_until_the_provider_has_ended_and_are_paid_for(
    house: House, till: Till, path: str
) -> None:
    await paid(house, BLOCKING)
    till.go.set()
    async with listening(bounded(house)) as server:
        till.go.clear()
        till.most = 0
        begun = till.begun
        await hang_up_on(server, 100, path, till, begun + 4)
        concurrency = server.api.app.state.service.concurrency
        await eventually(lambda: not concurrency.waiting and concurrency.abandoned >= 4)
        assert await server.get() == 200
        running, gone = await metric(server, "touchstone_queries_in_flight "), await metric(server, "touchstone_queries_abandoned ")
        assert till.most == 4
        assert 4 <= running <= 8
        assert gone >= 4
        till.go.set()
        await settled(server)
        assert till.most == 4
        assert await metric(server, "touchstone_queries_abandoned ") == 0
        calls = till.ended - begun
        usd, unpriced = await metric(server, "touchstone_usd_total"), await metric(server, "touchstone_unpriced_calls_total")
        assert status(await server.send(head(path) + BODY)) == 200
    if path == "/v1/query":
        assert usd == pytest.approx(calls * CALL_USD)
        assert unpriced == 0
    else:  # a stream that was cut never says what it cost: an estimate, said to be one
        assert unpriced == calls
        assert usd > 0


@pytest.mark.parametrize("path", ["/v1/query", "/v1/query/stream"])
async def test_a_call_that_can_be_stopped_is_stopped_and_counted_as_of_unknown_price(house: House, till: Till, path: str) -> None:
    async with listening(bounded(house)) as server:
        await paid(house, ASYNCHRONOUS)
        swap = asyncio.create_task(server.api.release_manager.refresh())  # its first question waits for the provider
        await till.until("begun", 1)
        swap.cancel()
        await asyncio.wait([swap])
        await till.until("cancelled", 1)
        serving = server.api.release_manager.serving
        assert serving is not None
        chat = connect_chat(Spec(name=ASYNCHRONOUS), server.api.app.state.service.settings)
        serving.pipeline.answerer._chats["lite"] = chat
        await hang_up_on(server, 6, path, till, 5)
        await settled(server)
        await till.until("cancelled", till.begun)
        assert till.running == 0
        assert await metric(server, "touchstone_unpriced_calls_total") == till.begun - 1
        assert await metric(server, 'touchstone_usd_total{model="tests') > 0


@pytest.mark.slow
async def test_a_question_that_took_too_long_is_told_so_at_once_and_settled_when_the_call_ends(house: House, till: Till) -> None:
    await paid(house, BLOCKING)
    till.go.set()
    async with listening(bounded(house, request_timeout_s=5.0, degrade=False)) as server:
        till.go.clear()
        begun = till.begun
        late = await server.send(head("/v1/query") + BODY)
        assert status(late) in (503, 504)  # as the model's patience or the question's ended first
        assert till.running == 1
        assert await metric(server, "touchstone_queries_in_flight ") == 1
        assert await metric(server, "touchstone_usd_total") == 0
        till.go.set()
        await settled(server)
        assert await metric(server, "touchstone_usd_total") == pytest.approx((till.ended - begun) * CALL_USD)


async def test_an_answer_in_time_is_paid_for_once(house: House, till: Till) -> None:
    await paid(house, BLOCKING)
    till.go.set()
    async with listening(bounded(house)) as server:
        answer = await server.send(head("/v1/query") + BODY)
        assert SAYS in answer.decode()
        assert await metric(server, "touchstone_usd_total") == pytest.approx(CALL_USD)
