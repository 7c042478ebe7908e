"""Ranking metrics on evidence spans and on documents; the maths is trec_eval's, through ir-measures."""

from collections.abc import Mapping
from typing import Any, ClassVar

from harness.golden.case import Case
from harness.metrics.hits import RANKED, CutoffMetric, ranking_of
from harness.metrics.relevance import EvidenceRanks, find_documents, find_spans
from harness.results.score import Score
from serving.pipeline.types import Trace

_QUERY = "q"


class _Ranking(CutoffMetric):
    """A measure of ir-measures at a cutoff, over the ranking before `top_k` cuts it: a longer list must not look like a better one."""

    version = "2"
    ir_measure: ClassVar[str]
    on_documents: ClassVar[bool] = False

    def measure_hits(self, trace: Trace, case: Case) -> Score:
        """The measure, or why this case has none."""
        if not case.answerable:
            return self.skip("nothing to find: unanswerable")
        if not self.on_documents and not case.evidence:
            return self.skip("the case has no evidence spans, only documents")
        return self.give(self.value(self.ranks(trace, case)))

    def ranks(self, trace: Trace, case: Case) -> EvidenceRanks:
        """The evidence by hit: of the first k, or of the first k documents among the first 50 hits."""
        ranking = ranking_of(trace)
        return find_documents(ranking[: max(RANKED, self.k)], case) if self.on_documents else find_spans(ranking[: self.k], case)

    def value(self, ranks: EvidenceRanks) -> float:
        """The measure over one list: a hit is an item, named after the evidence it completes."""
        relevant, items = _merged(ranks)
        return _measure(self.ir_measure, self.k, relevant, items[: self.k])


class Recall(_Ranking):
    """Share of the evidence that the first k hits show."""

    label, ir_measure = "recall", "R"

    def value(self, ranks: EvidenceRanks) -> float:
        """Each piece of evidence counts, also where one hit holds several."""
        items = [f"e{index}" for hit in ranks.evidence_by_hit[: self.k] for index in hit]
        return _measure("R", max(1, len(items)), {f"e{index}": grade for index, grade in enumerate(ranks.grades)}, items)


class Precision(_Ranking):
    """Share of the first k hits that bring new evidence."""

    label, ir_measure = "precision", "P"


class ReciprocalRank(_Ranking):
    """One over the rank of the first hit with evidence."""

    label, ir_measure = "mrr", "RR"


class Ndcg(_Ranking):
    """Discounted gain of hits that bring new evidence, against the best order possible."""

    label, ir_measure = "ndcg", "nDCG"


class AveragePrecision(_Ranking):
    """Mean of the precision at each hit that brings new evidence; evidence not found counts 0."""

    label, ir_measure = "map", "AP"


class Coverage(_Ranking):
    """Whether any evidence is among the first k hits."""

    label, ir_measure = "coverage", "Success"


class DocumentRecall(Recall):
    """Share of the documents with evidence among the first k documents."""

    label, on_documents = "doc_recall", True


class DocumentPrecision(Precision):
    """Share of the first k documents that hold evidence."""

    label, on_documents = "doc_precision", True


class DocumentReciprocalRank(ReciprocalRank):
    """One over the rank of the first document with evidence."""

    label, on_documents = "doc_mrr", True


class DocumentNdcg(Ndcg):
    """Discounted gain of documents with evidence, by their grades where the case has some (trec_eval's linear gains)."""

    version = "3"
    label, on_documents = "doc_ndcg", True


class DocumentAveragePrecision(AveragePrecision):
    """Mean of the precision at each document with evidence; one not found counts 0."""

    label, on_documents = "doc_map", True


def _merged(ranks: EvidenceRanks) -> tuple[dict[str, int], list[str]]:
    """Relevant items with their grades and ranked items, where pieces of evidence that one hit completes together are one item."""
    items = [f"e{hit[0]}" if hit else f"x{rank}" for rank, hit in enumerate(ranks.evidence_by_hit)]
    hidden = {index for hit in ranks.evidence_by_hit for index in hit[1:]}
    return {f"e{index}": grade for index, grade in enumerate(ranks.grades) if index not in hidden}, items


def _measure(name: str, k: int, relevant: Mapping[str, int], items: list[str]) -> float:
    import ir_measures

    measure: Any = getattr(ir_measures, name) @ k
    qrels = [ir_measures.Qrel(_QUERY, item, grade) for item, grade in relevant.items()]
    run = [ir_measures.ScoredDoc(_QUERY, item, -float(rank)) for rank, item in enumerate(items)]
    if not run:
        return 0.0
    return float(measure.calc_aggregate(qrels, run))
