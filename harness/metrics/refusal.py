"""Whether the pipeline refuses when it should, and only then."""

from harness.golden.case import Case
from harness.metrics.base import Scoring
from harness.results.score import Direction, Score
from serving.pipeline.types import Trace


class Refusal(Scoring):
    """1 when an unanswerable question is refused or an answerable one is not, else 0; the two mistakes apart say more."""

    label = "refusal"

    def measure(self, trace: Trace, case: Case) -> Score:
        """Right or wrong."""
        return self.give(float(trace.answer.refused != case.answerable))


class OverRefusal(Scoring):
    """1 when an answerable question is refused, else 0; scored on answerable questions only."""

    label = "over_refusal"
    direction: Direction = "lower"

    def measure(self, trace: Trace, case: Case) -> Score:
        """Refused or not."""
        return self.give(float(trace.answer.refused)) if case.answerable else self.skip("unanswerable: to be refused")


class MissedRefusal(Scoring):
    """1 when an unanswerable question is answered, else 0; scored on unanswerable questions only."""

    label = "missed_refusal"
    direction: Direction = "lower"

    def measure(self, trace: Trace, case: Case) -> Score:
        """Answered or not."""
        return self.skip("answerable: not to be refused") if case.answerable else self.give(float(not trace.answer.refused))
