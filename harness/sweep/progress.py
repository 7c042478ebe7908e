"""How far a sweep is."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from harness.sweep.trial import Trial


@dataclass
class Progress:
    """How far a sweep is; the command line shows it."""

    trials: int
    done: int = 0
    known: int = 0  # of these, finished by earlier processes
    cases: int = 0  # scored in this process
    best: Trial | None = None
    spent_usd: float = 0.0
    counts: dict[str, dict[str, int]] = field(default_factory=dict)  # of the stage store, by stage
    begun_s: float = field(default_factory=time.monotonic)

    def count(self, counts: Mapping[str, Mapping[str, int]]) -> None:
        """Add what a block found kept and what it had to compute."""
        for stage, numbers in counts.items():
            mine = self.counts.setdefault(stage, {"hits": 0, "misses": 0})
            for name, number in numbers.items():
                mine[name] += number


Tell = Callable[[Progress], None]
