"""The metric protocols, and the score a metric gives."""

from dataclasses import dataclass
from typing import Literal, Protocol

from harness.golden.case import Case
from serving.pipeline.types import Trace

Direction = Literal["higher", "lower"]
# the part of a trace that decides a score: the ranking; the answer with its passages and prompt; tokens, dollars, time
Reads = Literal["hits", "answer", "run"]


@dataclass(frozen=True, slots=True)
class Score:
    """A metric's value for one trace; unscored is `None` with a reason."""

    metric: str
    value: float | None
    reason: str = ""  # may also explain a value: which sentence was not grounded


class Metric(Protocol):
    """A function of a trace and its golden case; a metric that needs a case gives an unscored `Score` without one."""

    name: str  # with its cutoff: recall@5
    version: str
    direction: Direction
    range: tuple[float, float]
    needs_judge: bool
    needs_case: bool
    reads: Reads

    def score(self, trace: Trace, case: Case | None = None) -> Score: ...


class JudgedMetric(Protocol):
    """A metric that asks a judge, and so is async."""

    name: str
    version: str  # of the code; the judge's own id is put beside it
    direction: Direction
    range: tuple[float, float]
    needs_judge: bool
    needs_case: bool
    reads: Reads

    async def ask(self, trace: Trace, case: Case | None = None) -> Score: ...
