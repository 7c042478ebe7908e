"""How fast one provider is asked: so many calls a minute, so many tokens a minute, and so many calls at a time as it bears."""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cache

from serving.pipeline.settings import PipelineSettings

BURST_S = 5.0  # after a rest, as much may go out at once as so many seconds allow
SAME = {"bedrock_converse": "bedrock"}  # LangChain's names for one provider whose models share an account's limits


@dataclass(frozen=True, slots=True)
class Limits:
    """What one provider may be asked for by this process; 0 a minute means as much as one likes."""

    provider: str
    place: str = ""  # endpoint and region: limits are those of a place
    at_once: int = 8
    requests_per_minute: float = 0.0
    tokens_per_minute: float = 0.0

    @classmethod
    def of(cls, model: str, settings: PipelineSettings) -> "Limits":
        """The limits for a model by its name ("bedrock_converse:amazon.nova-lite-v1:0")."""
        provider = model.partition(":")[0]
        return cls(
            SAME.get(provider, provider),
            f"{settings.bedrock_endpoint} {settings.aws_region}",
            settings.model_concurrency,
            settings.requests_per_minute / settings.limit_shares,
            settings.tokens_per_minute / settings.limit_shares,
        )


class Bucket:
    """So much a minute; whoever takes more than is there waits until it would have flowed in."""

    def __init__(self, per_minute: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_minute / 60
        self._most = max(1.0, self._per_second * BURST_S)
        self._level = self._most
        self._clock = clock
        self._seen = clock()

    def take(self, amount: float) -> float:
        """Take an amount; returns the seconds to wait before using it. A negative amount is given back."""
        if self._per_second <= 0:
            return 0.0
        now = self._clock()
        self._level = min(self._most, self._level + (now - self._seen) * self._per_second)
        self._seen = now
        self._level -= amount
        return max(0.0, -self._level / self._per_second)


@dataclass(slots=True)
class CallSlot:
    """Leave to make one call, from `Pace.enter` to `Pace.leave`."""

    cuts: int  # how often the pace had been cut when the call began
    tokens: float = 0.0  # taken from the bucket for it


class Pace:
    """Calls at a time: halved when the provider throttles, one more after a round of successes; safe under several threads and loops."""

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self.at_once = limits.at_once  # now; between 1 and the limit
        self.running = 0
        self._limits = limits
        self._requests = Bucket(limits.requests_per_minute, clock)
        self._tokens = Bucket(limits.tokens_per_minute, clock)
        self._successes = 0
        self._cuts = 0
        self._lock = threading.Lock()
        self._waiting: deque[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = deque()

    async def enter(self, tokens: float = 0.0, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> CallSlot:
        """Wait for a free place and for the minute's allowance."""
        await self._place()
        with self._lock:
            wait_s = max(self._requests.take(1), self._tokens.take(tokens))
            turn = CallSlot(self._cuts, tokens)
        if wait_s > 0:
            try:
                await sleep(wait_s)
            except BaseException:
                self.leave(turn)
                raise
        return turn

    def leave(self, turn: CallSlot, *, succeeded: bool = False, tokens: float | None = None) -> None:
        """The call is over; `tokens` are those that it took in truth, where it said."""
        with self._lock:
            self.running -= 1
            if tokens is not None:
                self._tokens.take(tokens - turn.tokens)
            if succeeded and turn.cuts == self._cuts:
                self._successes += 1
                if self._successes >= self.at_once and self.at_once < self._limits.at_once:
                    self.at_once += 1
                    self._successes = 0
            self._wake()

    def throttled(self, turn: CallSlot) -> None:
        """The provider asked for patience; calls that had begun before the last cut say nothing new."""
        with self._lock:
            if turn.cuts == self._cuts:
                self._cuts += 1
                self._successes = 0
                self.at_once = max(1, self.at_once // 2)

    async def _place(self) -> None:
        """Return when one of the places is ours, in the order of asking."""
        with self._lock:
            if self.running < self.at_once and not self._waiting:
                self.running += 1
                return
            loop = asyncio.get_running_loop()
            mine: asyncio.Future[None] = loop.create_future()
            self._waiting.append((loop, mine))
            self._wake()
        try:
            await mine
        except asyncio.CancelledError:
            with self._lock:
                if (loop, mine) in self._waiting:
                    self._waiting.remove((loop, mine))
                else:  # the place was given at the same moment
                    self.running -= 1
                    self._wake()
            raise

    def _wake(self) -> None:
        """Give free places to those who wait; the lock is held."""
        while self._waiting and self.running < self.at_once:
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
def pace_of(limits: Limits) -> Pace:
    """The one pace of a provider in this process: all its models draw on the same limits, whoever connected them."""
    return Pace(limits)
