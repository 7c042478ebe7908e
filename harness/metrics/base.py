"""What a metric promises, and the score it gives."""

from dataclasses import dataclass
from typing import Literal, Protocol

from harness.golden import Case
from serving.pipeline.types import Trace

Direction = Literal["higher", "lower"]


@dataclass(frozen=True, slots=True)
class Score:
    """What a metric says of one trace; `None` with a reason where it cannot say."""

    metric: str
    value: float | None
    reason: str = ""


class Metric(Protocol):
    """A function of a trace and its golden case."""

    name: str  # with its cutoff: recall@5
    version: str
    direction: Direction
    range: tuple[float, float]
    needs_judge: bool

    def score(self, trace: Trace, case: Case) -> Score: ...


class Scoring:
    """What metrics without a judge, from 0 to 1, higher is better, have in common."""

    direction: Direction = "higher"
    range: tuple[float, float] = (0.0, 1.0)
    needs_judge: bool = False
    name: str

    def give(self, value: float) -> Score:
        """A score with a value."""
        return Score(self.name, value)

    def skip(self, reason: str) -> Score:
        """A score that says why there is none."""
        return Score(self.name, None, reason)
