"""What a metric promises, and the score it gives."""

from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

from harness.golden.case import Case
from serving.pipeline.registry import Params as PlugInParams
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
    """A function of a trace and its golden case."""

    name: str  # with its cutoff: recall@5
    version: str
    direction: Direction
    range: tuple[float, float]
    needs_judge: bool
    reads: Reads

    def score(self, trace: Trace, case: Case) -> Score: ...


class JudgedMetric(Protocol):
    """A metric that asks a judge, and so waits."""

    name: str
    version: str  # of the code; the judge's own id is put beside it
    direction: Direction
    range: tuple[float, float]
    needs_judge: bool
    reads: Reads

    async def ask(self, trace: Trace, case: Case) -> Score: ...


class Scoring:
    """What most metrics have in common: no parameters, no judge, from 0 to 1, higher is better, of the answer."""

    class Params(PlugInParams):
        """Nothing to set."""

    version: ClassVar[str] = "1"
    label: ClassVar[str]  # its name in the table
    direction: Direction = "higher"
    range: tuple[float, float] = (0.0, 1.0)
    needs_judge: bool = False
    reads: Reads = "answer"
    name: str

    def __init__(self, params: PlugInParams) -> None:
        self.name = self.label

    def give(self, value: float, reason: str = "") -> Score:
        """A score with a value."""
        return Score(self.name, value, reason)

    def skip(self, reason: str) -> Score:
        """A score that says why there is none."""
        return Score(self.name, None, reason)
