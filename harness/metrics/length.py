"""How much there is to read."""

import math

from harness.golden.case import Case
from harness.metrics.base import Scoring
from harness.results.score import Direction, Score
from serving.pipeline.text.answer_words import without_citations
from serving.pipeline.types import Trace


class Length(Scoring):
    """Words of the answer, citations left out; a refusal has no length, or refusing would look concise."""

    label = "length"
    needs_case = False
    direction: Direction = "lower"
    range = (0.0, math.inf)

    def measure(self, trace: Trace, case: Case | None) -> Score:
        """How many, or why that is not asked."""
        if trace.answer.refused:
            return self.skip("a refusal")
        parts = without_citations(trace.answer.text).split()
        return self.give(float(sum(any(map(str.isalnum, part)) for part in parts)))
