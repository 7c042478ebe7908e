"""Whether work takes time in proportion to its text.

No test says how long a thing may take: a machine may be slow, and others are at work on it. What work takes for a short text and for a
long one is compared, as processor time of this thread, the least of several attempts.
"""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

FLOOR_S = 0.003  # below it, noise decides
LOOKS = 5


def outgrown(work: Callable[[T], object], make: Callable[[int], T], *, length: int, times: int = 8) -> str:
    """How work outgrows a text that becomes so many times as long; empty if it does not.

    What is linear takes so many times as long, what is quadratic the square of it; the limit lies between.
    """
    short, long = make(length), make(length * times)
    before = after = float("inf")
    for _ in range(LOOKS):
        before = min(before, least_seconds(work, short, attempts=3))
        after = min(after, least_seconds(work, long))
        if after <= FLOOR_S or after <= before * times**1.5:
            return ""
    return f"{before * 1000:.1f} ms on a length of {length}, {after * 1000:.1f} on {length * times}"


def least_seconds(work: Callable[[T], object], text: T, attempts: int = 1) -> float:
    """The least processor time of some attempts, which other programs and threads do not lengthen."""
    least = float("inf")
    for _ in range(attempts):
        begin = time.thread_time()
        work(text)
        least = min(least, time.thread_time() - begin)
    return least
