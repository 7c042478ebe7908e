"""The time until which somebody waits for what is being done: whoever calls out asks how much of it is left."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Deadline:
    """A moment of a counter of seconds."""

    at_s: float
    seconds: Callable[[], float] = time.monotonic

    @property
    def left_s(self) -> float:
        """The seconds until then; 0 when it is over."""
        return max(0.0, self.at_s - self.seconds())


_DEADLINE: ContextVar[Deadline | None] = ContextVar("until when somebody waits", default=None)


def current_deadline() -> Deadline | None:
    """The deadline of the code that runs; none where nobody waits, as in an evaluation."""
    return _DEADLINE.get()


@contextmanager
def nobody_waits() -> Iterator[None]:
    """Inside there is no deadline: for what a question leaves behind and does not wait for."""
    token = _DEADLINE.set(None)
    try:
        yield
    finally:
        _DEADLINE.reset(token)


@contextmanager
def within(left_s: float, seconds: Callable[[], float] = time.monotonic) -> Iterator[Deadline]:
    """Inside, and in tasks that are begun inside, the deadline is in `left_s`, or an outer one that comes sooner."""
    outer = _DEADLINE.get()
    inner = Deadline(seconds() + left_s, seconds)
    token = _DEADLINE.set(inner if outer is None or inner.left_s < outer.left_s else outer)
    try:
        yield inner
    finally:
        _DEADLINE.reset(token)
