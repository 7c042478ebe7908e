"""A model that fails is left alone for who waits; calls end before their deadline."""

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest
from langchain_core.messages import AIMessageChunk, HumanMessage

from serving.pipeline.breaker import BreakerLimits, CircuitBreaker
from serving.pipeline.deadline import Deadline, current_deadline, no_deadline, within
from serving.pipeline.errors import ModelError, RequestError, ThrottledError
from serving.pipeline.models.breakers import ModelBreaker
from serving.pipeline.models.fakes import EchoChat, Fault, ScriptedChat
from serving.pipeline.models.rate_limit import RateLimiter, RateLimits
from serving.pipeline.models.retry import RetryPolicy, retrying_chat
from serving.pipeline.settings import PipelineSettings


class Time:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


def policy(time: Time, *, breaker: ModelBreaker | None = None, attempts: int = 5, **more: object) -> RetryPolicy:
    settings = PipelineSettings(_env_file=None, model_attempts=attempts, **more)
    limiter = RateLimiter(RateLimits("test"), time)
    breaker = breaker or ModelBreaker("m", BreakerLimits(failures=100), time)
    return RetryPolicy("m", settings, sleep=time.sleep, random_share=lambda: 1.0, limiter=limiter, breaker=breaker)


class Failing:
    """A call that fails so many times, each taking a while."""

    def __init__(self, time: Time, errors: list[Exception], takes_s: float = 0.0) -> None:
        self.calls = 0
        self._time, self._errors, self._takes_s = time, errors, takes_s

    async def __call__(self) -> str:
        self.calls += 1
        self._time.now += self._takes_s
        if self._errors:
            raise self._errors.pop(0)
        return "said"


async def test_no_retry_begins_that_cannot_end_before_the_deadline() -> None:
    time = Time()
    call = Failing(time, [ConnectionError("cut") for _ in range(5)])
    with within(5.0, time), pytest.raises(ModelError, match="cut"):
        await policy(time).run(call)
    assert (call.calls, time.pauses) == (3, [1.0, 2.0])  # the next pause would have been 4 s, with 2 s left


async def test_where_nobody_waits_every_try_is_made() -> None:
    time = Time()
    call = Failing(time, [ConnectionError("cut") for _ in range(5)])
    with pytest.raises(ModelError):
        await policy(time).run(call)
    assert (call.calls, current_deadline()) == (5, None)


async def test_a_call_has_the_time_that_is_left_and_an_inner_deadline_never_outlives_an_outer_one() -> None:
    time = Time()
    patient = policy(time, model_timeout_s=60.0)
    assert patient.timeout_s == 60.0
    with within(10.0, time):
        time.now += 4.0
        assert patient.timeout_s == 6.0
        with within(30.0, time):
            assert patient.timeout_s == 6.0
        with within(1.0, time):
            assert patient.timeout_s == 1.0
        time.now += 9.0
        assert patient.timeout_s == 0.0
    assert patient.timeout_s == 60.0


async def test_a_call_that_hangs_ends_at_the_deadline_as_an_outage() -> None:
    async def hang() -> str:
        await asyncio.Event().wait()
        return ""

    with within(0.05), pytest.raises(ModelError, match="did not answer"):
        await policy(Time()).run(hang)


async def test_waiting_for_the_rate_limit_ends_at_the_deadline() -> None:
    time = Time()
    held = policy(time)
    held._limiter.concurrency = 1
    slot = await held.acquire()
    with within(0.05), pytest.raises(ModelError, match="rate limit"):
        await held.run(Failing(time, []))
    held.release(slot, None)
    assert held._limiter.running == 0
    with within(5.0, time):
        assert await held.run(Failing(time, [])) == "said"


async def test_a_model_that_failed_in_a_row_is_left_alone_then_tried_by_one_and_taken_back(caplog: pytest.LogCaptureFixture) -> None:
    time = Time()
    breaker = ModelBreaker("m", BreakerLimits(failures=2, first_rest_s=1.0, longest_rest_s=30.0), time)
    tried = policy(time, breaker=breaker, attempts=1)
    call = Failing(time, [ConnectionError("cut"), ThrottledError("slow down"), ConnectionError("cut")], takes_s=0.5)
    with caplog.at_level(logging.WARNING), within(1000.0, time):
        for error in (ModelError, ThrottledError):
            with pytest.raises(error):
                await tried.run(call)
        assert (breaker.state, call.calls) == ("open", 2)
        with pytest.raises(ModelError, match=r"left alone for 1\.0 s"):
            await tried.run(call)
        assert call.calls == 2  # it was not called
        time.now += 1.0
        assert breaker.state == "half-open"
        with pytest.raises(ModelError, match="cut"):
            await tried.run(call)
        assert breaker.state == "open"
        time.now += 1.5
        assert breaker.state == "open"  # it rests twice as long now
        time.now += 0.5
        assert await tried.run(call) == "said"
        assert breaker.state == "closed"
    assert [record.message for record in caplog.records] == [
        "m does not answer (ThrottledError); it is left alone for 1.0 s at a time.",
        "m answers again.",
    ]


async def test_an_evaluation_asks_a_model_that_a_server_would_leave_alone_and_counts_nothing() -> None:
    time = Time()
    breaker = ModelBreaker("m", BreakerLimits(failures=1), time)
    tried = policy(time, breaker=breaker, attempts=1)
    with pytest.raises(ModelError):
        await tried.run(Failing(time, [ConnectionError("cut")]))
    assert breaker.state == "closed"
    with within(9.0, time), pytest.raises(ModelError):
        await tried.run(Failing(time, [ConnectionError("cut")]))
    assert breaker.state == "open"
    assert await tried.run(Failing(time, [])) == "said"


async def test_a_refused_request_says_that_the_model_is_there() -> None:
    time = Time()
    breaker = ModelBreaker("m", BreakerLimits(failures=1), time)
    with within(9.0, time), pytest.raises(RequestError):
        await policy(time, breaker=breaker).run(Failing(time, [RequestError("too long")]))
    assert breaker.state == "closed"


async def test_a_question_that_is_given_up_says_nothing_of_the_model() -> None:
    time = Time()
    breaker = ModelBreaker("m", BreakerLimits(failures=1), time)

    async def hang() -> str:
        await asyncio.Event().wait()
        return ""

    async def ask() -> None:
        with within(9.0, time):
            await policy(time, breaker=breaker).run(hang)

    task = asyncio.create_task(ask())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert breaker.state == "closed"


def test_too_large_a_share_of_failures_opens_it_too() -> None:
    now = [0.0]
    breaker = CircuitBreaker(lambda: now[0], BreakerLimits(failures=100, window=10, share=0.6, first_rest_s=1.0))
    opened = []
    for failed in (True, False, True, True, False, True, False, True, False, True):
        now[0] += 1.0
        opened.append(breaker.failed(now[0]) if failed else breaker.succeeded())
    assert (opened[-1], any(opened[:-1]), breaker.state) == (True, False, "open")
    now[0] += 1.0
    assert breaker.attempt() and breaker.succeeded()
    now[0] += 1.0
    assert not breaker.failed(now[0])  # what was before it closed does not count any more


class SilentChat(EchoChat):
    """Its stream never says a word."""

    async def _answer_in_chunks(self, call: object) -> AsyncIterator[AIMessageChunk]:
        await asyncio.Event().wait()
        yield AIMessageChunk(content="")


async def test_a_stream_without_a_first_word_ends_at_the_deadline_and_counts_as_a_failure() -> None:
    breaker = ModelBreaker("m", BreakerLimits(failures=1), Time())
    chat = retrying_chat(SilentChat(), policy(Time(), breaker=breaker, attempts=1))
    with within(0.05), pytest.raises(ModelError):
        async for _ in chat.astream([HumanMessage("q")]):
            pass
    assert breaker.state == "open"


async def test_a_stream_that_breaks_off_counts_as_a_failure_and_a_whole_one_as_a_success() -> None:
    breaker = ModelBreaker("m", BreakerLimits(failures=2), Time())
    time = Time()
    inner = ScriptedChat(answers=(Fault(error="failed", text="Some words"), "A whole answer."))
    chat = retrying_chat(inner, policy(time, breaker=breaker, attempts=1))
    with within(9.0, time):
        with pytest.raises(ModelError, match="broke off"):
            async for _ in chat.astream([HumanMessage("q")]):
                pass
        assert breaker._breaker._failures == 1
        async for _ in chat.astream([HumanMessage("q")]):
            pass
    assert breaker._breaker._failures == 0


async def test_what_a_question_leaves_behind_has_no_deadline() -> None:
    async def look() -> Deadline | None:
        return current_deadline()

    with within(1.0):
        with no_deadline():
            left_behind = asyncio.create_task(look())
        waited_for = asyncio.create_task(look())
    assert await left_behind is None
    assert await waited_for is not None
    assert current_deadline() is None
