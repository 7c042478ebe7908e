"""Retrieval by characters of evidence, as Chroma's evaluation of chunking counts tokens; what chunk sizes can be compared by.

Evidence counts once however often it is shown; what was retrieved counts as often as it is shown, so overlap costs.
"""

from collections.abc import Sequence

from harness.golden.case import Case
from harness.metrics.hits import AtCutoff
from harness.metrics.relevance import common, merged
from harness.results.score import Score
from serving.pipeline.types import Span, Trace


class _Characters(AtCutoff):
    def look(self, trace: Trace, case: Case) -> Score:
        """The share, or why this case has none."""
        if not case.answerable:
            return self.skip("nothing to find: unanswerable")
        wanted = merged(evidence.span for evidence in case.evidence)
        if not sum(map(len, wanted)):
            return self.skip("the case has no evidence spans, only documents")
        return self.give(self.share(wanted, [hit.chunk.span for hit in trace.hits[: self.k]]))

    def share(self, wanted: Sequence[Span], shown: Sequence[Span]) -> float:
        """The share, of evidence that does not overlap and hits that may."""
        raise NotImplementedError


class SpanRecall(_Characters):
    """Share of the evidence's characters that the first k hits show."""

    label = "span_recall"

    def share(self, wanted: Sequence[Span], shown: Sequence[Span]) -> float:
        """Evidence shown, of all evidence."""
        return common(wanted, shown) / _length(wanted)


class SpanPrecision(_Characters):
    """Share of the characters of the first k hits that are evidence; what two hits both show is paid for twice."""

    label = "span_precision"

    def share(self, wanted: Sequence[Span], shown: Sequence[Span]) -> float:
        """Evidence shown, of all that was shown."""
        return common(wanted, shown) / max(1, _length(shown))


class SpanIoU(_Characters):
    """Evidence shown, over everything shown together with the evidence missed, in characters (intersection over union)."""

    label = "span_iou"

    def share(self, wanted: Sequence[Span], shown: Sequence[Span]) -> float:
        """Evidence shown, of all that was shown or should have been."""
        found = common(wanted, shown)
        return found / (_length(shown) + _length(wanted) - found)


def _length(spans: Sequence[Span]) -> int:
    return sum(len(span) for span in spans)
