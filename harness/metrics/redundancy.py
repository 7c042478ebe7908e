"""What can be said of hits without knowing the answer: there are none, or they repeat each other."""

from harness.golden.case import Case
from harness.metrics.hits import CutoffMetric, HitMetric
from harness.metrics.relevance import covered
from harness.results.score import Direction, Score
from serving.pipeline.types import Span, Trace


class Empty(HitMetric):
    """1 when nothing at all was retrieved, else 0."""

    label = "empty"
    needs_case = False
    direction: Direction = "lower"

    def measure_hits(self, trace: Trace, case: Case | None) -> Score:
        """Found nothing, or something."""
        return self.give(float(not trace.hits))


class DuplicateRate(CutoffMetric):
    """Share of the first k hits that repeat earlier ones: half of their characters shown already, or the same words elsewhere."""

    label = "duplicate_rate"
    needs_case = False
    direction: Direction = "lower"

    def measure_hits(self, trace: Trace, case: Case | None) -> Score:
        """The share, or why there is none."""
        hits = trace.hits[: self.k]
        if not hits:
            return self.skip("no hits")
        spans: list[Span] = []
        texts: set[str] = set()
        repeats = 0
        for hit in hits:
            text = " ".join(hit.chunk.text.casefold().split())
            repeats += text in texts or covered(hit.chunk.span, spans)
            spans.append(hit.chunk.span)
            texts.add(text)
        return self.give(repeats / len(hits), f"{repeats} of {len(hits)} hits")
