import asyncio
import threading

import pytest

from serving.app.core.limits import ConcurrencyLimit, UploadLimit
from serving.app.core.problems import Rejected
from serving.app.core.stores import StoreCalls
from serving.pipeline.answer.answerer import Emit
from serving.pipeline.types import Query
from tests.app.making import House, interrupted, opened
from tests.support.waiting import WITHIN_S


async def test_calls_to_a_store_take_turns_and_nobody_waits_for_all_who_asked_before() -> None:
    calls, go, begun = StoreCalls("requests for traces", 1, timeout_s=0.05), threading.Event(), threading.Event()

    def hang() -> str:
        begun.set()
        go.wait()
        return "answered"

    first = asyncio.create_task(calls.run(hang))
    assert await asyncio.to_thread(begun.wait, WITHIN_S)
    for _ in range(3):
        with pytest.raises(Rejected, match="Too many requests for traces") as caught:
            await calls.run(hang)
        assert caught.value.problem.status == 503
    go.set()
    assert await first == "answered"
    assert await calls.run(str.upper, "next") == "NEXT"


async def test_the_gate_lets_so_many_run_and_so_many_wait_and_sends_the_next_away() -> None:
    gate, go = ConcurrencyLimit(running=2, waiting=1), asyncio.Event()

    async def question() -> str:
        async with gate.slot():
            await go.wait()
            return "answered"

    tasks = [asyncio.create_task(question()) for _ in range(3)]
    await asyncio.sleep(0)
    assert (gate.running, gate.waiting) == (2, 1)
    with pytest.raises(Rejected) as caught:
        await question()
    assert caught.value.problem.status == 503
    go.set()
    assert await asyncio.gather(*tasks) == ["answered"] * 3
    assert (gate.running, gate.waiting) == (0, 0)
    assert await question() == "answered"


async def test_the_slow_uploads_of_one_tenant_leave_a_place_to_the_others() -> None:
    limit, go = UploadLimit(running=2), asyncio.Event()

    async def upload(tenant: str) -> str:
        async with limit.slot(tenant):
            if tenant == "slow":
                await go.wait()
            return "received"

    held = [asyncio.create_task(upload("slow")) for _ in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(Rejected, match="uploads"):
        await upload("slow")
    async with asyncio.timeout(WITHIN_S):
        assert await upload("other") == "received"
    go.set()
    assert await asyncio.gather(*held) == ["received"] * 3
    assert limit._tenants == {}, "nothing is kept of tenants that upload nothing"


async def test_one_that_gives_up_waiting_frees_its_place() -> None:
    gate, go = ConcurrencyLimit(running=1, waiting=1), asyncio.Event()

    async def question() -> None:
        async with gate.slot():
            await go.wait()

    first, second = asyncio.create_task(question()), asyncio.create_task(question())
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.wait([second])
    assert (gate.running, gate.waiting) == (1, 0)
    go.set()
    await first
    assert (gate.running, gate.waiting) == (0, 0)


async def test_too_many_questions_are_told_to_come_back(furnished: House) -> None:
    begun, go = asyncio.Event(), asyncio.Event()

    async def hold(query: Query, emit: Emit | None) -> None:
        if query.id != "warm-up":
            begun.set()
            await go.wait()

    async with opened(furnished.settings(max_running=1, max_waiting=0), load=interrupted(hold)) as api:
        first = asyncio.create_task(api.ask())
        await begun.wait()
        assert await api.metric("touchstone_queries_in_flight ") == ["touchstone_queries_in_flight 1.0"]
        for path in ("/v1/query", "/v1/query/stream"):
            busy = await api.client.post(path, json={"question": "And me?"})
            assert busy.status_code == 503
            assert busy.json()["type"] == "urn:touchstone:problem:too-busy"
            assert int(busy.headers["retry-after"]) > 0
        go.set()
        assert (await first).status_code == 200
        assert (await api.ask()).status_code == 200


async def test_a_body_that_is_too_large_is_not_read_to_its_end(furnished: House) -> None:
    sent = 0

    async def flood():
        nonlocal sent
        for _ in range(1000):
            sent += 1
            yield b'{"question": "' + b"x" * 1024

    async with opened(furnished.settings(max_body_bytes=4096)) as api:
        declared = await api.client.post("/v1/query", content=b"x" * 5000, headers={"Content-Type": "application/json"})
        endless = await api.client.post("/v1/query", content=flood(), headers={"Content-Type": "application/json"})
    for response in (declared, endless):
        assert response.status_code == 413
        assert response.headers["content-type"] == "application/problem+json"
    assert sent < 20


async def test_a_body_that_does_not_come_is_not_waited_for(furnished: House) -> None:
    async def drip():
        yield b'{"question": '
        await asyncio.Event().wait()

    async with opened(furnished.settings(body_timeout_s=0.05)) as api:
        response = await api.client.post("/v1/query", content=drip(), headers={"Content-Type": "application/json"})
    assert response.status_code == 408
