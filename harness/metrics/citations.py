"""Whether citations point at evidence, and at all of it."""

from harness.golden.case import Case
from harness.metrics.base import Scoring
from harness.metrics.relevance import covered
from harness.results.score import Score
from serving.pipeline.types import Trace


class CitationPrecision(Scoring):
    """Share of the cited passages that hold evidence; an answer without citations scores 0."""

    label = "citation_precision"

    def measure(self, trace: Trace, case: Case) -> Score:
        """The share, or why there is none."""
        if trace.answer.refused:
            return self.skip("a refusal cites nothing")
        if not case.answerable:
            return self.skip("no evidence: unanswerable")
        cited = {citation.chunk_id: citation.span for citation in trace.answer.citations}
        if not cited:
            return self.give(0.0)
        spans = [evidence.span for evidence in case.evidence]
        if spans:
            return self.give(sum(any(span.overlap(other) for other in spans) for span in cited.values()) / len(cited))
        return self.give(sum(span.document_id in case.documents for span in cited.values()) / len(cited))


class CitationRecall(Scoring):
    """Share of the evidence that the cited passages show together, piece by piece; an answer without citations scores 0."""

    label = "citation_recall"

    def measure(self, trace: Trace, case: Case) -> Score:
        """The share, or why there is none."""
        if trace.answer.refused:
            return self.skip("a refusal cites nothing")
        if not case.answerable:
            return self.skip("no evidence: unanswerable")
        cited = [citation.span for citation in trace.answer.citations]
        spans = [evidence.span for evidence in case.evidence]
        if spans:
            return self.give(sum(covered(span, cited) for span in spans) / len(spans))
        cited_documents = {span.document_id for span in cited}
        return self.give(sum(document in cited_documents for document in case.documents) / len(case.documents))
