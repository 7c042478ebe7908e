"""A circuit breaker: what failed is not tried again by every query, but by one of them after a while."""

from collections.abc import Callable
from typing import Final

_FAILURES: Final = 2  # in a row
_FIRST_REST_S: Final = 0.5
_LONGEST_REST_S: Final = 15.0


class CircuitBreaker:
    """Open after failures in a row, for a time that doubles with each failed attempt to close it."""

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._failures = 0
        self._rest_s = 0.0
        self._closed_from = 0.0

    @property
    def open(self) -> bool:
        """Whether nothing is tried now."""
        return self._rest_s > 0 and self._seconds() < self._closed_from

    def attempt(self) -> bool:
        """Whether to try; while it is open, one attempt is let through after each rest."""
        if self._rest_s <= 0:
            return True
        if self._seconds() < self._closed_from:
            return False
        self._closed_from = self._seconds() + self._rest_s  # the others wait for what comes of this one
        return True

    def succeeded(self) -> bool:
        """Close; whether it was open."""
        was_open = self._rest_s > 0
        self._failures, self._rest_s = 0, 0.0
        return was_open

    def failed(self) -> bool:
        """Count a failure; whether it opened the breaker."""
        self._failures += 1
        if self._failures < _FAILURES:
            return False
        opened = self._rest_s <= 0
        self._rest_s = min(max(2 * self._rest_s, _FIRST_REST_S), _LONGEST_REST_S)
        self._closed_from = self._seconds() + self._rest_s
        return opened
