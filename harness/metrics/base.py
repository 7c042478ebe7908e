"""The defaults of most metrics."""

from typing import Any, ClassVar, Final

from harness.golden.case import Case
from harness.results.score import Direction, Reads, Score
from serving.pipeline.registry import Params as PlugInParams
from serving.pipeline.types import Trace

NEEDS_CASE: Final = "needs a golden case"


class Scoring:
    """A metric with defaults: no parameters, no judge, needs a case, from 0 to 1, higher is better, reads the answer.

    A subclass writes `measure`, or `measure_by_judge` if it needs a judge; `case` may be `None` where none is needed.
    """

    class Params(PlugInParams):
        """Nothing to set."""

    version: ClassVar[str] = "1"
    label: ClassVar[str]  # its name in the table
    direction: Direction = "higher"
    range: tuple[float, float] = (0.0, 1.0)
    needs_judge: bool = False
    needs_case: bool = True
    reads: Reads = "answer"
    name: str

    def __init__(self, params: PlugInParams) -> None:
        self.name = self.label

    def score(self, trace: Trace, case: Case | None = None) -> Score:
        """The score of a trace; unscored without a case that is needed."""
        return self.skip(NEEDS_CASE) if self._lacks(case) else self.measure(trace, case)

    async def ask(self, trace: Trace, case: Case | None = None) -> Score:
        """The same, for a metric that asks a judge."""
        return self.skip(NEEDS_CASE) if self._lacks(case) else await self.measure_by_judge(trace, case)

    def measure(self, trace: Trace, case: Any) -> Score:
        """The score of a trace with the case that this metric needs."""
        raise NotImplementedError

    async def measure_by_judge(self, trace: Trace, case: Any) -> Score:
        """The same, by a judge."""
        raise NotImplementedError

    def give(self, value: float, reason: str = "") -> Score:
        """A score with a value."""
        return Score(self.name, value, reason)

    def skip(self, reason: str) -> Score:
        """An unscored score with its reason."""
        return Score(self.name, None, reason)

    def _lacks(self, case: Case | None) -> bool:
        return self.needs_case and case is None


def question_of(trace: Trace, case: Case | None) -> str:
    """What was asked: in the case's words where there is one."""
    return trace.question or (case.question if case else trace.query.text)  # a follow-up as it stands alone, where it was rewritten
