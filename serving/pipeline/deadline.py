"""The deadline of the running request, as a context variable: calls to models and stores limit their time-outs by it."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Deadline:
    """A point in time, on a monotonic clock."""

    at_s: float
    seconds: Callable[[], float] = time.monotonic

    @property
    def left_s(self) -> float:
        """Seconds until the deadline; 0 once it has passed."""
        return max(0.0, self.at_s - self.seconds())


_DEADLINE: ContextVar[Deadline | None] = ContextVar("deadline", default=None)


def current_deadline() -> Deadline | None:
    """The deadline of the running request; `None` where no client waits, as in an evaluation."""
    return _DEADLINE.get()


@contextmanager
def no_deadline() -> Iterator[None]:
    """Within the block there is no deadline: for work that a request starts and does not wait for."""
    token = _DEADLINE.set(None)
    try:
        yield
    finally:
        _DEADLINE.reset(token)


@contextmanager
def within(left_s: float, seconds: Callable[[], float] = time.monotonic) -> Iterator[Deadline]:
    """Within the block, and in tasks started in it, the deadline is `left_s` from now, or an outer one that comes sooner."""
    outer = _DEADLINE.get()
    inner = Deadline(seconds() + left_s, seconds)
    token = _DEADLINE.set(inner if outer is None or inner.left_s < outer.left_s else outer)
    try:
        yield inner
    finally:
        _DEADLINE.reset(token)
