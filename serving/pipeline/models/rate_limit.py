"""The rate limits of one provider: calls a minute, tokens a minute, and an adaptive number of concurrent calls."""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cache

from serving.pipeline.errors import ModelError
from serving.pipeline.settings import PipelineSettings

BURST_S = 5.0  # the burst after a pause: the allowance of so many seconds
SHARED_ACCOUNTS = {"bedrock_converse": "bedrock"}  # LangChain's names for one provider whose models share an account's limits


@dataclass(frozen=True, slots=True)
class RateLimits:
    """The limits of one provider for this process; 0 a minute is no limit."""

    provider: str
    place: str = ""  # endpoint and region, which have limits of their own
    concurrency: int = 8
    requests_per_minute: float = 0.0
    tokens_per_minute: float = 0.0

    @classmethod
    def of(cls, model: str, settings: PipelineSettings) -> "RateLimits":
        """The limits for a model by its name ("bedrock_converse:amazon.nova-lite-v1:0")."""
        provider = model.partition(":")[0]
        return cls(
            SHARED_ACCOUNTS.get(provider, provider),
            f"{settings.bedrock_endpoint} {settings.aws_region}",
            settings.model_concurrency,
            settings.requests_per_minute / settings.limit_shares,
            settings.tokens_per_minute / settings.limit_shares,
        )


class TokenBucket:
    """A token bucket: whoever consumes more than its level waits until it would be refilled."""

    def __init__(self, per_minute: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_minute / 60
        self._capacity = max(1.0, self._per_second * BURST_S)
        self._level = self._capacity
        self._clock = clock
        self._refilled_at = clock()

    def consume(self, amount: float) -> float:
        """Consume an amount; returns the seconds to wait before using it. A negative amount is returned to the bucket."""
        if self._per_second <= 0:
            return 0.0
        now = self._clock()
        self._level = min(self._capacity, self._level + (now - self._refilled_at) * self._per_second)
        self._refilled_at = now
        self._level -= amount
        return max(0.0, -self._level / self._per_second)


@dataclass(slots=True)
class CallSlot:
    """Permission for one call, from `RateLimiter.acquire` to `RateLimiter.release`."""

    cuts: int  # how often the concurrency had been halved when the call began
    tokens: float = 0.0  # consumed from the bucket in advance
    abandoned: bool = False  # the call was abandoned, but still runs
    began_s: float | None = None  # by the clock of the model's breaker, where it counts the call


class RateLimiter:
    """Limits concurrent calls: halved when throttled, one more after a round of successes; safe with several threads and event loops."""

    def __init__(self, limits: RateLimits, clock: Callable[[], float] = time.monotonic) -> None:
        self.concurrency = limits.concurrency  # now; between 1 and the limit
        self.running = 0
        self.abandoned = 0  # how many of these were abandoned
        self._limits = limits
        self._clock = clock
        self._stuck_at: float | None = None  # since when every place is held by an abandoned call
        self._requests = TokenBucket(limits.requests_per_minute, clock)
        self._tokens = TokenBucket(limits.tokens_per_minute, clock)
        self._successes = 0
        self._cuts = 0
        self._lock = threading.Lock()
        self._waiting: deque[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = deque()

    async def acquire(
        self, tokens: float = 0.0, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep, *, patience_s: float | None = None
    ) -> CallSlot:
        """Wait for a free slot and for the allowance of the minute; `ModelError` if abandoned calls hold every slot for `patience_s`."""
        await self._wait_for_slot(patience_s)
        with self._lock:
            wait_s = max(self._requests.consume(1), self._tokens.consume(tokens))
            slot = CallSlot(self._cuts, tokens)
        if wait_s > 0:
            try:
                await sleep(wait_s)
            except BaseException:
                self.release(slot)
                raise
        return slot

    def release(self, slot: CallSlot, *, succeeded: bool = False, tokens: float | None = None) -> None:
        """Give a slot back; `tokens` is the actual use, where the model reported it."""
        with self._lock:
            self.running -= 1
            if slot.abandoned:
                self.abandoned -= 1
            self._stuck_at = None
            if tokens is not None:
                self._tokens.consume(tokens - slot.tokens)
            if succeeded and slot.cuts == self._cuts:
                self._successes += 1
                if self._successes >= self.concurrency and self.concurrency < self._limits.concurrency:
                    self.concurrency += 1
                    self._successes = 0
            self._wake()

    def abandon(self, slot: CallSlot) -> None:
        """Mark a call that cannot be stopped as abandoned: it keeps its slot until it ends and releases it."""
        with self._lock:
            slot.abandoned = True
            self.abandoned += 1
            if self.abandoned >= self.concurrency and self._stuck_at is None:
                self._stuck_at = self._clock()

    def throttled(self, slot: CallSlot) -> None:
        """Halve the concurrency; ignored for calls that began before the last halving."""
        with self._lock:
            if slot.cuts == self._cuts:
                self._cuts += 1
                self._successes = 0
                self.concurrency = max(1, self.concurrency // 2)

    async def _wait_for_slot(self, patience_s: float | None) -> None:
        """Wait for a slot, first come first served."""
        with self._lock:
            if self.running < self.concurrency and not self._waiting:
                self.running += 1
                return
            loop = asyncio.get_running_loop()
            future: asyncio.Future[None] = loop.create_future()
            self._waiting.append((loop, future))
            self._wake()
        if patience_s is not None:
            timer = loop.call_later(patience_s, self._give_up, loop, future, patience_s)
            future.add_done_callback(lambda _: timer.cancel())
        try:
            await future
        except asyncio.CancelledError:
            with self._lock:
                if (loop, future) in self._waiting:
                    self._waiting.remove((loop, future))
                else:  # the slot was granted at the same moment
                    self.running -= 1
                    self._wake()
            raise

    def _give_up(self, loop: asyncio.AbstractEventLoop, future: "asyncio.Future[None]", patience_s: float) -> None:
        """End the wait for a slot if abandoned calls have held all of them for so long; look again later otherwise."""
        if future.done():
            return
        with self._lock:
            stuck_s = 0.0 if self._stuck_at is None else self._clock() - self._stuck_at
            stuck = stuck_s >= patience_s and (loop, future) in self._waiting
            if stuck:
                self._waiting.remove((loop, future))
        if not stuck:
            loop.call_later(patience_s, self._give_up, loop, future, patience_s)
            return
        future.set_exception(
            ModelError(
                f"{self._limits.provider} does not answer: all {self.running} calls that may run at a time were given up and have not "
                "ended. Try again later; see `touchstone doctor`."
            )
        )

    def _wake(self) -> None:
        """Grant free slots to waiting calls; the lock is held."""
        while self._waiting and self.running < self.concurrency:
            loop, future = self._waiting.popleft()
            try:
                loop.call_soon_threadsafe(_grant, future)
            except RuntimeError:  # its loop was closed while it waited
                continue
            self.running += 1


def _grant(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)


@cache
def rate_limiter_of(limits: RateLimits) -> RateLimiter:
    """The rate limiter of a provider in this process, shared by all its models."""
    return RateLimiter(limits)
