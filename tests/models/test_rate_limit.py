"""The pace of a provider: a bucket filled by the minute, and as many calls at a time as it bears."""

import asyncio
import threading

import pytest

from serving.pipeline.errors import ModelError, ThrottledError
from serving.pipeline.models.rate_limit import BURST_S, RateLimiter, RateLimits, TokenBucket, rate_limiter_of
from serving.pipeline.models.retry import RetryPolicy
from serving.pipeline.settings import PipelineSettings
from tests.support.waiting import WITHIN_S

LIMITS = RateLimits("acme", concurrency=4)


class Time:
    """A clock that moves when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


def settings(**changes: object) -> PipelineSettings:
    return PipelineSettings(_env_file=None, **changes)


async def succeed(limiter: RateLimiter, times: int) -> None:
    for _ in range(times):
        limiter.release(await limiter.acquire(), succeeded=True)


async def throttle(limiter: RateLimiter) -> None:
    slot = await limiter.acquire()
    limiter.throttled(slot)
    limiter.release(slot)


def test_a_bucket_lets_a_burst_through_and_then_as_much_as_flows_in():
    time = Time()
    bucket = TokenBucket(60, time)  # one a second
    assert [bucket.consume(1) for _ in range(int(BURST_S))] == [0] * int(BURST_S)
    assert [bucket.consume(1), bucket.consume(1)] == [pytest.approx(1), pytest.approx(2)]
    time.now += 7  # two were taken in advance, five fit in again
    assert [bucket.consume(1) for _ in range(5)] == [0] * 5
    assert bucket.consume(1) > 0


def test_a_bucket_without_a_limit_never_waits():
    bucket = TokenBucket(0, Time())
    assert [bucket.consume(1e9) for _ in range(3)] == [0, 0, 0]


@pytest.mark.parametrize("per_minute", [6, 60, 600])
async def test_no_more_calls_go_out_than_the_minute_allows(per_minute: float):
    time = Time()
    limiter = RateLimiter(RateLimits("acme", requests_per_minute=per_minute), time)
    begun = []
    for _ in range(3 * per_minute):
        limiter.release(await limiter.acquire(sleep=time.sleep), succeeded=True)
        begun.append(time.now - 100)
    burst = max(1, per_minute * BURST_S / 60)
    assert all(number <= burst + at * per_minute / 60 + 1e-6 for number, at in enumerate(begun, start=1))
    assert begun[-1] == pytest.approx((3 * per_minute - burst) * 60 / per_minute)  # and no fewer


async def test_tokens_are_counted_as_they_were_and_not_only_as_they_were_guessed():
    time = Time()
    limiter = RateLimiter(RateLimits("acme", tokens_per_minute=600), time)
    slot = await limiter.acquire(10, time.sleep)
    limiter.release(slot, succeeded=True, tokens=110)  # 50 were there, 10 a second flow in
    await limiter.acquire(0, time.sleep)
    assert time.now == pytest.approx(106)


async def test_throttling_halves_the_calls_at_a_time_and_rounds_of_success_bring_them_back_one_by_one():
    limiter = RateLimiter(RateLimits("acme", concurrency=8))
    seen = []
    for _ in range(4):
        await throttle(limiter)
        seen.append(limiter.concurrency)
    assert seen == [4, 2, 1, 1]
    await succeed(limiter, 1)
    assert limiter.concurrency == 2
    await succeed(limiter, 1)
    assert limiter.concurrency == 2
    await succeed(limiter, 1)
    assert limiter.concurrency == 3
    await succeed(limiter, 1000)
    assert limiter.concurrency == 8


async def test_calls_that_were_on_their_way_together_are_throttled_once():
    limiter = RateLimiter(RateLimits("acme", concurrency=8))
    slots = [await limiter.acquire() for _ in range(8)]
    for slot in slots:
        limiter.throttled(slot)
        limiter.release(slot)
    assert limiter.concurrency == 4


async def test_after_a_cut_no_more_run_than_it_allows():
    limiter = RateLimiter(LIMITS)
    slots = [await limiter.acquire() for _ in range(4)]
    waiting = [asyncio.create_task(limiter.acquire()) for _ in range(4)]
    await asyncio.sleep(0)
    limiter.throttled(slots[0])
    for left, slot in enumerate(slots):
        limiter.release(slot)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert limiter.running <= max(2, 3 - left)
    assert sum(task.done() for task in waiting) == 2
    for task in waiting[:2]:
        limiter.release(task.result(), succeeded=True)
    rest = await asyncio.gather(*waiting[2:])
    for slot in rest:
        limiter.release(slot)
    assert limiter.running == 0


async def test_who_gives_up_waiting_takes_no_place():
    limiter = RateLimiter(RateLimits("acme", concurrency=1))
    first = await limiter.acquire()
    gone, stays = asyncio.create_task(limiter.acquire()), asyncio.create_task(limiter.acquire())
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    limiter.release(first)
    limiter.release(await stays)
    assert limiter.running == 0

    held = await limiter.acquire()
    granted = asyncio.create_task(limiter.acquire())
    await asyncio.sleep(0)
    limiter.release(held)  # the place is given, and its new owner cancelled before it hears of it
    granted.cancel()
    await asyncio.gather(granted, return_exceptions=True)
    assert limiter.running == 0


def test_event_loops_of_several_threads_share_one_pace():
    limiter, most, lock = RateLimiter(RateLimits("acme", concurrency=2)), [0], threading.Lock()

    async def calls() -> None:
        async def one() -> None:
            slot = await limiter.acquire()
            with lock:
                most[0] = max(most[0], limiter.running)
            await asyncio.sleep(0)
            limiter.release(slot, succeeded=True)

        await asyncio.gather(*(one() for _ in range(50)))

    threads = [threading.Thread(target=lambda: asyncio.run(calls())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WITHIN_S)
        assert not thread.is_alive()
    assert most[0] == 2
    assert limiter.running == 0


def test_models_of_a_provider_share_its_limits_and_others_do_not():
    place = settings(requests_per_minute=60.0)
    nova = rate_limiter_of(RateLimits.of("bedrock_converse:amazon.nova-lite-v1:0", place))
    assert nova is rate_limiter_of(RateLimits.of("bedrock:amazon.titan-embed-text-v2:0", place))
    assert nova is not rate_limiter_of(RateLimits.of("openai:gpt-4o", place))
    assert nova is not rate_limiter_of(
        RateLimits.of("bedrock_converse:amazon.nova-lite-v1:0", settings(aws_region="eu-west-1", requests_per_minute=60.0))
    )


def test_processes_share_what_a_minute_allows():
    limits = RateLimits.of("acme:m", settings(requests_per_minute=60.0, tokens_per_minute=9000.0, limit_shares=3))
    assert (limits.requests_per_minute, limits.tokens_per_minute) == (20, 3000)


async def test_the_retry_policy_reports_the_end_of_each_call_to_the_rate_limiter():
    time, limiter = Time(), RateLimiter(LIMITS)
    policy = RetryPolicy("acme:m", settings(model_attempts=3), sleep=time.sleep, limiter=limiter)
    answers = iter([ThrottledError("slow down")])

    async def throttled_once() -> str:
        for error in answers:
            raise error
        return "fine"

    with pytest.raises(ThrottledError):  # one of ours is not tried again here: whoever raised it had its own retries
        await policy.run(throttled_once)
    assert limiter.concurrency == 2
    assert await policy.run(throttled_once) == "fine"

    async def broken() -> str:
        raise ModelError("gone")

    with pytest.raises(ModelError):
        await policy.run(broken)
    assert limiter.concurrency == 2  # a fault is no throttling
    assert limiter.running == 0


async def test_a_cancelled_call_gives_its_place_back():
    limiter = RateLimiter(LIMITS)
    policy = RetryPolicy("acme:m", settings(), limiter=limiter)
    call = asyncio.create_task(policy.run(asyncio.Event().wait))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert limiter.running == 1
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    assert limiter.running == 0
