"""A circuit breaker: after failures, queries fail fast until one of them tries again."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

BreakerState = Literal["closed", "open", "half-open"]  # half-open: the next attempt, or one that is under way, decides
BREAKER_STATES: Final[tuple[BreakerState, ...]] = ("closed", "open", "half-open")


@dataclass(frozen=True, slots=True)
class BreakerLimits:
    """When a breaker opens, and for how long; the time doubles with each failed attempt to close it."""

    failures: int = 2  # in a row
    window: int = 0  # or a share of the last so many attempts; 0: the share does not count
    share: float = 1.0
    first_rest_s: float = 0.5
    longest_rest_s: float = 15.0


class CircuitBreaker:
    """Open after failures in a row, or too many among the last attempts, for a time that doubles with each failed attempt to close it."""

    def __init__(self, seconds: Callable[[], float], limits: BreakerLimits | None = None) -> None:
        self._seconds = seconds
        self._limits = limits or BreakerLimits()
        self._failures = 0
        self._last: deque[bool] = deque(maxlen=self._limits.window)  # whether each attempt failed
        self._failed_s = float("-inf")
        self._rest_s = 0.0
        self._closed_from = 0.0

    @property
    def state(self) -> BreakerState:
        """closed: every call is tried; open: none; half-open: one attempt decides."""
        if self._rest_s <= 0:
            return "closed"
        return "open" if self._seconds() < self._closed_from else "half-open"

    @property
    def open(self) -> bool:
        """Whether calls are rejected now."""
        return self.state == "open"

    @property
    def rest_s(self) -> float:
        """Seconds until the next attempt is allowed."""
        return max(0.0, self._closed_from - self._seconds()) if self._rest_s > 0 else 0.0

    def attempt(self) -> bool:
        """Whether to try; while open, one attempt is allowed after each rest."""
        if self._rest_s <= 0:
            return True
        if self._seconds() < self._closed_from:
            return False
        self._closed_from = self._seconds() + self._rest_s  # the others wait for its outcome
        return True

    def succeeded(self) -> bool:
        """Close; whether it was open."""
        was_open = self._rest_s > 0
        self._failures, self._rest_s = 0, 0.0
        if was_open:
            self._last.clear()
        self._last.append(False)
        return was_open

    def failed(self, started_s: float) -> bool:
        """Count a failure of an attempt; whether it opened the breaker. Attempts that were under way together fail once in a row.

        A process that is held up for a moment sees many of them run out of time at the same moment.
        """
        self._last.append(True)
        together = started_s < self._failed_s
        if not together:
            self._failed_s = self._seconds()
            self._failures += 1
        if (together and self._rest_s > 0) or not (self._failures >= self._limits.failures or self._too_many()):
            return False
        opened = self._rest_s <= 0
        self._rest_s = min(max(2 * self._rest_s, self._limits.first_rest_s), self._limits.longest_rest_s)
        self._closed_from = self._seconds() + self._rest_s
        return opened

    def _too_many(self) -> bool:
        window = self._limits.window
        return 0 < window <= len(self._last) and sum(self._last) >= self._limits.share * window
