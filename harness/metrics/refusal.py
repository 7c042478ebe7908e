"""Whether the pipeline refuses when it should, and only then."""

from harness.golden.case import Case
from harness.metrics.base import Score, Scoring
from serving.pipeline.types import Trace


class Refusal(Scoring):
    """1 when an unanswerable question is refused or an answerable one is not, else 0."""

    label = "refusal"

    def score(self, trace: Trace, case: Case) -> Score:
        """Right or wrong."""
        return self.give(float(trace.answer.refused != case.answerable))
