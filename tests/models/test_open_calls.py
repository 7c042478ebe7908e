import asyncio
import threading
from collections.abc import Iterator

import pytest

from serving.pipeline.errors import ModelError
from serving.pipeline.models.open_calls import OpenCalls, call_was_cut
from serving.pipeline.models.rate_limit import RateLimiter, RateLimits
from serving.pipeline.models.retry import RetryingEmbeddings, RetryPolicy
from serving.pipeline.models.threads import iterate_in_thread, run_in_thread
from serving.pipeline.settings import PipelineSettings
from tests.support.waiting import WITHIN_S


class Blocking:
    """A call that runs until it is told to go."""

    def __init__(self, result: object = "late") -> None:
        self.begun, self.go, self._result = threading.Event(), threading.Event(), result

    def __call__(self) -> object:
        self.begun.set()
        assert self.go.wait(WITHIN_S)
        if isinstance(self._result, Exception):
            raise self._result
        return self._result


async def settle(calls: OpenCalls) -> None:
    """Wait until no call runs."""
    done, loop = asyncio.Event(), asyncio.get_running_loop()
    calls.when_done(lambda: loop.call_soon_threadsafe(done.set))
    await asyncio.wait_for(done.wait(), WITHIN_S)


async def begin(call: Blocking, calls: OpenCalls) -> asyncio.Task:
    async def work() -> object:
        with calls.watch():
            return await run_in_thread(call)

    task = asyncio.create_task(work())
    assert await asyncio.to_thread(call.begun.wait, WITHIN_S)
    return task


async def test_a_call_that_is_waited_for_is_not_late() -> None:
    late: list[object] = []
    call, calls = Blocking(), OpenCalls(on_late=late.append)
    task = await begin(call, calls)
    assert (calls.begun, calls.running) == (1, 1)
    call.go.set()
    assert await task == "late"
    assert (calls.begun, calls.running, late) == (1, 0, [])


@pytest.mark.parametrize("ended_first", [False, True])
async def test_the_result_of_a_cancelled_call_reaches_its_watchers_once_whenever_it_comes(ended_first: bool) -> None:
    late: list[object] = []
    call, calls = Blocking(), OpenCalls(on_late=late.append)
    task = await begin(call, calls)
    if ended_first:  # the result lies in the loop when the task is cancelled
        call.go.set()
        while calls.running:
            pass
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    call.go.set()
    await settle(calls)
    assert late == ["late"]


async def test_a_cancelled_call_that_fails_has_no_result() -> None:
    late: list[object] = []
    call, calls = Blocking(ValueError()), OpenCalls(on_late=late.append)
    task = await begin(call, calls)
    task.cancel()
    await asyncio.wait([task])
    call.go.set()
    await settle(calls)
    assert late == []


async def test_watchers_nest_and_each_hears() -> None:
    late: list[str] = []
    cut: list[str] = []
    outer = OpenCalls(on_late=lambda _: late.append("outer"), on_cut=lambda: cut.append("outer"))
    inner = OpenCalls(on_late=lambda _: late.append("inner"))
    call = Blocking()
    with outer.watch():
        task = await begin(call, inner)
        call_was_cut()
    assert (outer.running, inner.running) == (1, 1)
    task.cancel()
    await asyncio.wait([task])
    call.go.set()
    await settle(outer)
    assert (sorted(late), cut) == (["inner", "outer"], ["outer"])


async def test_an_iterator_that_nobody_reads_is_closed_and_runs_until_then() -> None:
    go, closed, calls = threading.Event(), threading.Event(), OpenCalls()

    def numbers() -> Iterator[int]:
        try:
            yield 1
            assert go.wait(WITHIN_S)
            yield 2
            raise AssertionError
        finally:
            closed.set()

    items = iterate_in_thread(numbers, calls=calls)
    assert await anext(items) == 1
    await items.aclose()
    assert calls.running == 1
    go.set()
    await settle(calls)
    assert closed.is_set()


def policy(limiter: RateLimiter, timeout_s: float = 30.0, attempts: int = 1) -> RetryPolicy:
    return RetryPolicy("acme:m", PipelineSettings(_env_file=None, model_timeout_s=timeout_s, model_attempts=attempts), limiter=limiter)


async def test_a_cancelled_call_in_a_thread_keeps_its_place_until_it_ends() -> None:
    limiter, call = RateLimiter(RateLimits("acme", concurrency=1)), Blocking()
    task = asyncio.create_task(policy(limiter).run(lambda: run_in_thread(call)))
    assert await asyncio.to_thread(call.begun.wait, WITHIN_S)
    task.cancel()
    await asyncio.wait([task])
    assert (limiter.running, limiter.abandoned) == (1, 1)
    following = asyncio.create_task(limiter.acquire())
    await asyncio.sleep(0)
    assert not following.done()
    call.go.set()
    await asyncio.wait_for(following, WITHIN_S)
    assert (limiter.running, limiter.abandoned) == (1, 0)


@pytest.mark.slow
async def test_a_call_that_timed_out_keeps_its_place_and_no_more_than_allowed_ever_run() -> None:
    limiter, go, lock = RateLimiter(RateLimits("acme", concurrency=2)), threading.Event(), threading.Lock()
    running, most = 0, 0

    class Model:
        def embed_query(self, text: str) -> list[float]:
            nonlocal running, most
            with lock:
                running += 1
                most = max(most, running)
            assert go.wait(WITHIN_S)
            with lock:
                running -= 1
            return [1.0]

        embed_documents = None

    async def let_go() -> None:
        """End the calls that run, once each of them was given up."""
        nonlocal go
        while True:
            if limiter.running == limiter.abandoned > 0:
                go.set()
                go = threading.Event()
            await asyncio.sleep(0.01)

    model = RetryingEmbeddings(Model(), policy(limiter, timeout_s=0.2, attempts=3), batch=1)  # type: ignore[arg-type]
    letting_go = asyncio.create_task(let_go())
    found = await asyncio.gather(*(model.aembed_query("q") for _ in range(4)), return_exceptions=True)
    assert all(isinstance(one, ModelError) for one in found)
    assert most == 2
    async with asyncio.timeout(WITHIN_S):
        while limiter.running:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    letting_go.cancel()
    assert limiter.abandoned == 0


async def test_where_given_up_calls_hold_every_place_for_good_the_next_is_told_and_does_not_wait_for_ever() -> None:
    limiter, call = RateLimiter(RateLimits("acme", concurrency=1)), Blocking()
    stuck = policy(limiter, timeout_s=0.05)
    with pytest.raises(ModelError):
        await stuck.run(lambda: run_in_thread(call))
    with pytest.raises(ModelError, match="acme does not answer: all 1 calls"):
        await asyncio.wait_for(stuck.run(lambda: run_in_thread(call)), WITHIN_S)
    assert len(limiter._waiting) == 0
    call.go.set()
    async with asyncio.timeout(WITHIN_S):
        while limiter.running:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    assert await policy(limiter).run(lambda: run_in_thread(lambda: "fine")) == "fine"
