"""The progress of a sweep, and the observer that is notified of it."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from harness.sweep.trial import Trial
from harness.tracking.base import Run

if TYPE_CHECKING:
    from harness.sweep.verdict import SweepResult


@dataclass
class SweepProgress:
    """How far a sweep is."""

    trials: int
    done: int = 0
    resumed: int = 0  # of these, finished by earlier processes
    cases: int = 0  # scored in this process
    best: Trial | None = None
    spent_usd: float = 0.0
    counts: dict[str, dict[str, int]] = field(default_factory=dict)  # hits and misses of the stage store, by stage
    started_s: float = field(default_factory=time.monotonic)

    def is_past(self, limit_s: float | None) -> bool:
        """Whether this process has worked on it for longer than a limit."""
        return limit_s is not None and time.monotonic() - self.started_s > limit_s

    def count(self, counts: Mapping[str, Mapping[str, int]]) -> None:
        """Add hits and misses of the stage store."""
        for stage, numbers in counts.items():
            mine = self.counts.setdefault(stage, {"hits": 0, "misses": 0, "again": 0})
            for name, number in numbers.items():
                mine[name] += number


class SweepObserver:
    """Is notified of a sweep's progress; this base does nothing."""

    def progressed(self, progress: SweepProgress) -> None:
        """A block of cases was scored, or a trial has ended."""

    def trial_finished(self, trial: Trial) -> None:
        """A trial is at its end, and kept."""

    def sweep_finished(self, result: "SweepResult", run: Run) -> None:
        """The result and the winner are written; the tracking run is still open for what is made of them."""
