"""Retrieval by characters of evidence, as Chroma's evaluation of chunking counts tokens; what chunk sizes can be compared by.

Evidence counts once however often it is shown; what was retrieved counts as often as it is shown, so overlap costs.
"""

from collections.abc import Sequence

from harness.golden.case import Case
from harness.metrics.hits import CutoffMetric
from harness.metrics.relevance import common_characters, merge_spans
from harness.results.score import Score
from serving.pipeline.types import Span, Trace


class _Characters(CutoffMetric):
    def measure_hits(self, trace: Trace, case: Case) -> Score:
        """The share, or why this case has none."""
        if not case.answerable:
            return self.skip("nothing to find: unanswerable")
        evidence = merge_spans(evidence.span for evidence in case.evidence)
        if not sum(map(len, evidence)):
            return self.skip("the case has no evidence spans, only documents")
        return self.give(self.share(evidence, [hit.chunk.span for hit in trace.hits[: self.k]]))

    def share(self, evidence: Sequence[Span], hits: Sequence[Span]) -> float:
        """The share, of evidence that does not overlap and hits that may."""
        raise NotImplementedError


class SpanRecall(_Characters):
    """Share of the evidence's characters that the first k hits show."""

    label = "span_recall"

    def share(self, evidence: Sequence[Span], hits: Sequence[Span]) -> float:
        """Evidence shown, of all evidence."""
        return common_characters(evidence, hits) / _length(evidence)


class SpanPrecision(_Characters):
    """Share of the characters of the first k hits that are evidence; what two hits both show is paid for twice."""

    label = "span_precision"

    def share(self, evidence: Sequence[Span], hits: Sequence[Span]) -> float:
        """Evidence shown, of all that was shown."""
        return common_characters(evidence, hits) / max(1, _length(hits))


class SpanIoU(_Characters):
    """Evidence shown, over everything shown together with the evidence missed, in characters (intersection over union)."""

    label = "span_iou"

    def share(self, evidence: Sequence[Span], hits: Sequence[Span]) -> float:
        """Evidence shown, of all that was shown or should have been."""
        both = common_characters(evidence, hits)
        return both / (_length(hits) + _length(evidence) - both)


def _length(spans: Sequence[Span]) -> int:
    return sum(len(span) for span in spans)
