"""The clock that is passed to everything that needs time."""

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """The time of day, and a counter."""

    def now(self) -> datetime: ...

    def seconds(self) -> float: ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """The time of day, UTC."""
        return datetime.now(UTC)

    def seconds(self) -> float:
        """A counter for measuring durations."""
        return time.perf_counter()
