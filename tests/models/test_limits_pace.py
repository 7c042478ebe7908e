"""The pace of a provider: a bucket filled by the minute, and as many calls at a time as it bears."""

import asyncio
import threading

import pytest

from serving.pipeline.errors import ModelError, ThrottledError
from serving.pipeline.models.limits import Patience
from serving.pipeline.models.pace import BURST_S, Bucket, Limits, Pace, pace_of
from serving.pipeline.settings import PipelineSettings

LIMITS = Limits("acme", at_once=4)


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


async def succeed(pace: Pace, times: int) -> None:
    for _ in range(times):
        pace.leave(await pace.enter(), succeeded=True)


async def throttle(pace: Pace) -> None:
    turn = await pace.enter()
    pace.throttled(turn)
    pace.leave(turn)


def test_a_bucket_lets_a_burst_through_and_then_as_much_as_flows_in():
    time = Time()
    bucket = Bucket(60, time)  # one a second
    assert [bucket.take(1) for _ in range(int(BURST_S))] == [0] * int(BURST_S)
    assert [bucket.take(1), bucket.take(1)] == [pytest.approx(1), pytest.approx(2)]
    time.now += 7  # two were taken in advance, five fit in again
    assert [bucket.take(1) for _ in range(5)] == [0] * 5
    assert bucket.take(1) > 0


def test_a_bucket_without_a_limit_never_waits():
    bucket = Bucket(0, Time())
    assert [bucket.take(1e9) for _ in range(3)] == [0, 0, 0]


@pytest.mark.parametrize("per_minute", [6, 60, 600])
async def test_no_more_calls_go_out_than_the_minute_allows(per_minute: float):
    time = Time()
    pace = Pace(Limits("acme", requests_per_minute=per_minute), time)
    begun = []
    for _ in range(3 * per_minute):
        pace.leave(await pace.enter(sleep=time.sleep), succeeded=True)
        begun.append(time.now - 100)
    burst = max(1, per_minute * BURST_S / 60)
    assert all(number <= burst + at * per_minute / 60 + 1e-6 for number, at in enumerate(begun, start=1))
    assert begun[-1] == pytest.approx((3 * per_minute - burst) * 60 / per_minute)  # and no fewer


async def test_tokens_are_counted_as_they_were_and_not_only_as_they_were_guessed():
    time = Time()
    pace = Pace(Limits("acme", tokens_per_minute=600), time)
    turn = await pace.enter(10, time.sleep)
    pace.leave(turn, succeeded=True, tokens=110)  # 50 were there, 10 a second flow in
    await pace.enter(0, time.sleep)
    assert time.now == pytest.approx(106)


async def test_throttling_halves_the_calls_at_a_time_and_rounds_of_success_bring_them_back_one_by_one():
    pace = Pace(Limits("acme", at_once=8))
    seen = []
    for _ in range(4):
        await throttle(pace)
        seen.append(pace.at_once)
    assert seen == [4, 2, 1, 1]
    await succeed(pace, 1)
    assert pace.at_once == 2
    await succeed(pace, 1)
    assert pace.at_once == 2
    await succeed(pace, 1)
    assert pace.at_once == 3
    await succeed(pace, 1000)
    assert pace.at_once == 8


async def test_calls_that_were_on_their_way_together_are_throttled_once():
    pace = Pace(Limits("acme", at_once=8))
    turns = [await pace.enter() for _ in range(8)]
    for turn in turns:
        pace.throttled(turn)
        pace.leave(turn)
    assert pace.at_once == 4


async def test_after_a_cut_no_more_run_than_it_allows():
    pace = Pace(LIMITS)
    turns = [await pace.enter() for _ in range(4)]
    waiting = [asyncio.create_task(pace.enter()) for _ in range(4)]
    await asyncio.sleep(0)
    pace.throttled(turns[0])
    for left, turn in enumerate(turns):
        pace.leave(turn)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert pace.running <= max(2, 3 - left)
    assert sum(task.done() for task in waiting) == 2
    for task in waiting[:2]:
        pace.leave(task.result(), succeeded=True)
    rest = await asyncio.gather(*waiting[2:])
    for turn in rest:
        pace.leave(turn)
    assert pace.running == 0


async def test_who_gives_up_waiting_takes_no_place():
    pace = Pace(Limits("acme", at_once=1))
    first = await pace.enter()
    gone, stays = asyncio.create_task(pace.enter()), asyncio.create_task(pace.enter())
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    pace.leave(first)
    pace.leave(await stays)
    assert pace.running == 0

    held = await pace.enter()
    granted = asyncio.create_task(pace.enter())
    await asyncio.sleep(0)
    pace.leave(held)  # the place is given, and its new owner cancelled before it hears of it
    granted.cancel()
    await asyncio.gather(granted, return_exceptions=True)
    assert pace.running == 0


def test_event_loops_of_several_threads_share_one_pace():
    pace, most, lock = Pace(Limits("acme", at_once=2)), [0], threading.Lock()

    async def calls() -> None:
        async def one() -> None:
            turn = await pace.enter()
            with lock:
                most[0] = max(most[0], pace.running)
            await asyncio.sleep(0)
            pace.leave(turn, succeeded=True)

        await asyncio.gather(*(one() for _ in range(50)))

    threads = [threading.Thread(target=lambda: asyncio.run(calls())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    assert most[0] == 2
    assert pace.running == 0


def test_models_of_a_provider_share_its_limits_and_others_do_not():
    place = settings(requests_per_minute=60.0)
    nova = pace_of(Limits.of("bedrock_converse:amazon.nova-lite-v1:0", place))
    assert nova is pace_of(Limits.of("bedrock:amazon.titan-embed-text-v2:0", place))
    assert nova is not pace_of(Limits.of("openai:gpt-4o", place))
    assert nova is not pace_of(
        Limits.of("bedrock_converse:amazon.nova-lite-v1:0", settings(aws_region="eu-west-1", requests_per_minute=60.0))
    )


def test_processes_share_what_a_minute_allows():
    limits = Limits.of("acme:m", settings(requests_per_minute=60.0, tokens_per_minute=9000.0, limit_shares=3))
    assert (limits.requests_per_minute, limits.tokens_per_minute) == (20, 3000)


async def test_patience_tells_the_pace_what_came_of_its_calls():
    time, pace = Time(), Pace(LIMITS)
    patience = Patience("acme:m", settings(model_attempts=3), sleep=time.sleep, pace=pace)
    answers = iter([ThrottledError("slow down")])

    async def throttled_once() -> str:
        for error in answers:
            raise error
        return "fine"

    with pytest.raises(ThrottledError):  # one of ours is not tried again here: whoever raised it had its own patience
        await patience.run(throttled_once)
    assert pace.at_once == 2
    assert await patience.run(throttled_once) == "fine"

    async def broken() -> str:
        raise ModelError("gone")

    with pytest.raises(ModelError):
        await patience.run(broken)
    assert pace.at_once == 2  # a fault is no throttling
    assert pace.running == 0


async def test_a_cancelled_call_gives_its_place_back():
    pace = Pace(LIMITS)
    patience = Patience("acme:m", settings(), pace=pace)
    call = asyncio.create_task(patience.run(asyncio.Event().wait))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert pace.running == 1
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    assert pace.running == 0
