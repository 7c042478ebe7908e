"""What a metric promises, and the score it gives."""

from dataclasses import dataclass
from typing import Literal, Protocol

from harness.golden.case import Case
from serving.pipeline.types import Trace

Direction = Literal["higher", "lower"]
Reads = Literal[
    "hits", "answer", "run"
]  # what of a trace decides the score: the ranking; what was said and from what; tokens, dollars, time


@dataclass(frozen=True, slots=True)
class Score:
    """What a metric says of one trace; `None` with a reason where it cannot say."""

    metric: str
    value: float | None
    reason: str = ""  # may also explain a value: which sentence was not grounded


class Metric(Protocol):
    """A function of a trace and, where it needs one, its golden case: without one it still gives a `Score`, if only of `None`."""

    name: str  # with its cutoff: recall@5
    version: str
    direction: Direction
    range: tuple[float, float]
    needs_judge: bool
    needs_case: bool
    reads: Reads

    def score(self, trace: Trace, case: Case | None = None) -> Score: ...


class JudgedMetric(Protocol):
    """A metric that asks a judge, and so waits."""

    name: str
    version: str  # of the code; the judge's own id is put beside it
    direction: Direction
    range: tuple[float, float]
    needs_judge: bool
    needs_case: bool
    reads: Reads

    async def ask(self, trace: Trace, case: Case | None = None) -> Score: ...
