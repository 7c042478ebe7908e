import math
import random
from dataclasses import replace
from statistics import fmean

import ir_measures
import pytest

from harness.golden.case import Case
from harness.metrics import metric
from serving.pipeline.types import CacheRecord, GuardAction, GuardVerdict
from tests.support.making import a_case, a_hit, a_trace, unanswerable

TWO = a_case(
    evidence=[
        {"document": "doc", "quote": "x" * 10, "start": 10, "end": 20},
        {"document": "doc", "quote": "x" * 20, "start": 100, "end": 120},
    ]
)


def value(name: str, case: Case, *hits: object) -> float | None:
    return metric(name).score(a_trace(*hits), case).value  # type: ignore[arg-type]


def test_half_of_a_span_finds_it_and_less_does_not() -> None:
    assert value("recall@5", a_case(), a_hit(15, 40)) == 1.0
    assert value("recall@5", a_case(), a_hit(16, 40)) == 0.0
    assert value("recall@5", a_case(), a_hit(10, 20, "other")) == 0.0


def test_two_hits_find_together_what_neither_shows_alone() -> None:
    assert value("recall@5", a_case(), a_hit(0, 13), a_hit(17, 30)) == 1.0
    assert value("recall@1", a_case(), a_hit(0, 13), a_hit(17, 30)) == 0.0
    assert value("mrr@10", a_case(), a_hit(0, 13), a_hit(17, 30)) == 0.5


def test_overlapping_hits_are_not_counted_twice() -> None:
    assert value("recall@5", a_case(), a_hit(0, 14), a_hit(11, 14)) == 0.0


def test_recall_counts_each_piece_of_evidence() -> None:
    assert value("recall@5", TWO, a_hit(0, 50)) == 0.5
    assert value("recall@5", TWO, a_hit(0, 50), a_hit(90, 130)) == 1.0
    assert value("recall@1", TWO, a_hit(0, 130)) == 1.0


def test_precision_counts_hits_that_bring_something_new() -> None:
    hits = (a_hit(0, 50), a_hit(5, 55), a_hit(300, 400), a_hit(90, 130))
    assert value("precision@2", TWO, *hits) == 0.5
    assert value("precision@4", TWO, *hits) == 0.5


def test_ndcg_equals_the_number_worked_by_hand() -> None:
    hits = (a_hit(300, 400), a_hit(0, 50), a_hit(400, 500), a_hit(90, 130))
    gained = 1 / math.log2(3) + 1 / math.log2(5)
    best = 1 / math.log2(2) + 1 / math.log2(3)
    assert value("ndcg@10", TWO, *hits) == pytest.approx(gained / best)


def test_one_hit_with_all_the_evidence_is_a_perfect_ranking() -> None:
    assert value("ndcg@10", TWO, a_hit(0, 200)) == 1.0
    assert value("coverage@5", TWO, a_hit(300, 400), a_hit(0, 50)) == 1.0
    assert value("coverage@1", TWO, a_hit(300, 400), a_hit(0, 50)) == 0.0


def test_documents_count_once_each() -> None:
    case = a_case(evidence=[], relevant_ids=["a", "b"])
    hits = (a_hit(0, 5, "x"), a_hit(0, 5, "a"), a_hit(5, 9, "a"), a_hit(0, 5, "b"))
    assert value("doc_recall@2", case, *hits) == 0.5
    assert value("doc_recall@3", case, *hits) == 1.0
    assert value("doc_mrr@10", case, *hits) == 0.5
    expected = (1 / math.log2(3) + 1 / math.log2(4)) / (1 + 1 / math.log2(3))
    assert value("doc_ndcg@10", case, *hits) == pytest.approx(expected)


def test_average_precision_equals_the_number_worked_by_hand() -> None:
    hits = (a_hit(0, 50), a_hit(300, 400), a_hit(90, 130))
    assert value("map@10", TWO, *hits) == pytest.approx((1 / 1 + 2 / 3) / 2)
    assert value("map@2", TWO, *hits) == 0.5
    documents = a_case(evidence=[], relevant_ids=["a", "b", "c"])
    ranked = (a_hit(0, 5, "x"), a_hit(0, 5, "b"), a_hit(5, 9, "b"), a_hit(0, 5, "a"))
    assert value("doc_map@10", documents, *ranked) == pytest.approx((1 / 2 + 2 / 3) / 3)
    assert value("doc_precision@3", documents, *ranked) == pytest.approx(2 / 3)


def test_grades_are_the_gains_of_ndcg() -> None:
    case = a_case(evidence=[], relevant_ids=["a", "b", "c"], grades=[1, 4, 2])
    hits = (a_hit(0, 5, "a"), a_hit(0, 5, "x"), a_hit(0, 5, "b"))
    gained = 1 / math.log2(2) + 4 / math.log2(4)
    best = 4 / math.log2(2) + 2 / math.log2(3) + 1 / math.log2(4)
    assert value("doc_ndcg@10", case, *hits) == pytest.approx(gained / best)
    assert value("doc_ndcg@1", case, *hits) == pytest.approx(1 / 4)
    assert value("doc_recall@3", case, *hits) == pytest.approx(2 / 3)


def test_a_quoted_document_without_a_grade_is_as_relevant_as_the_best() -> None:
    case = a_case(relevant_ids=["a"], grades=[3])
    assert value("doc_ndcg@1", case, a_hit(0, 5, "doc")) == 1.0
    assert value("doc_ndcg@1", a_case(relevant_ids=["a", "doc"], grades=[3, 1]), a_hit(0, 5, "doc")) == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("name", "measure"),
    [
        ("doc_ndcg@10", ir_measures.nDCG @ 10),
        ("doc_ndcg@3", ir_measures.nDCG @ 3),
        ("doc_recall@5", ir_measures.R @ 5),
        ("doc_precision@5", ir_measures.P @ 5),
        ("doc_mrr@10", ir_measures.RR @ 10),
        ("doc_map@10", ir_measures.AP @ 10),
    ],
)
def test_the_mean_over_cases_is_what_trec_eval_says_of_the_whole_graded_run(name: str, measure: ir_measures.Measure) -> None:
    chance = random.Random(20260930)
    documents = [f"d{number}" for number in range(60)]
    qrels, run, values = [], [], []
    for query in range(40):
        relevant = {name: chance.choice((1, 1, 2, 3, 4)) for name in chance.sample(documents, chance.randint(1, 30))}
        ranked = chance.sample(documents, chance.choice((0, 3, 20)))
        qrels += [ir_measures.Qrel(str(query), document, grade) for document, grade in relevant.items()]
        run += [ir_measures.ScoredDoc(str(query), document, 1 / rank) for rank, document in enumerate(ranked, 1)]
        case = a_case(evidence=[], relevant_ids=list(relevant), grades=list(relevant.values()))
        values.append(value(name, case, *(a_hit(0, 9, document, rank) for rank, document in enumerate(ranked, 1))))
    expected = ir_measures.calc_aggregate([measure], qrels, run)[measure]
    assert fmean(found for found in values if found is not None) == pytest.approx(expected)


def test_a_ranking_is_scored_before_the_cut_at_top_k() -> None:
    hits = (a_hit(300, 400), a_hit(500, 600), a_hit(0, 50))
    whole = replace(a_trace(*hits), ranking=tuple(hit.chunk.span for hit in hits))
    cut = replace(whole, hits=hits[:1])
    for name in ("recall@5", "precision@5", "mrr@10", "ndcg@10", "map@10", "coverage@5", "doc_recall@5", "doc_ndcg@10"):
        scored = metric(name).score(cut, a_case())  # type: ignore[union-attr]
        assert scored.value == metric(name).score(whole, a_case()).value != 0.0, name  # type: ignore[union-attr]
    assert metric("recall@2").score(whole, a_case()).value == 0.0  # type: ignore[union-attr]
    assert metric("span_recall@5").score(cut, a_case()).value == 0.0  # type: ignore[union-attr]  # of what was handed on


def test_spans_are_counted_in_characters() -> None:
    hits = (a_hit(15, 45), a_hit(100, 110), a_hit(0, 70, "other"))  # 5 of 10 and 10 of 20 characters, in 110 shown
    assert value("span_recall@5", TWO, *hits) == pytest.approx(15 / 30)
    assert value("span_precision@5", TWO, *hits) == pytest.approx(15 / 110)
    assert value("span_iou@5", TWO, *hits) == pytest.approx(15 / (110 + 15))
    assert value("span_recall@1", TWO, *hits) == pytest.approx(5 / 30)
    for name in ("span_recall@5", "span_precision@5", "span_iou@5"):
        assert value(name, TWO, a_hit(10, 20), a_hit(100, 120)) == 1.0
        assert value(name, TWO) == 0.0
        assert value(name, unanswerable()) is None
        assert value(name, a_case(evidence=[], relevant_ids=["doc"])) is None


def test_evidence_shown_twice_counts_once_and_is_paid_for_twice() -> None:
    hits = (a_hit(0, 20), a_hit(10, 30))
    assert value("span_recall@5", a_case(), *hits) == 1.0
    assert value("span_precision@5", a_case(), *hits) == pytest.approx(10 / 40)
    assert value("span_iou@5", a_case(), *hits) == pytest.approx(10 / 40)
    quote = {"document": "doc", "quote": "x" * 10}
    overlapping = a_case(evidence=[quote | {"start": 10, "end": 20}, quote | {"start": 15, "end": 25}])
    assert value("span_recall@5", overlapping, a_hit(0, 20)) == pytest.approx(10 / 15)
    assert value("span_iou@5", overlapping, a_hit(10, 25)) == 1.0


def test_a_hit_is_a_repeat_when_half_of_it_or_all_its_words_were_shown_before() -> None:
    distinct = replace(a_hit(0, 10, "other"), chunk=replace(a_hit(0, 10, "other").chunk, text="Other words"))
    copied = replace(distinct, chunk=replace(distinct.chunk, document_id="copy", text=" other  WORDS\n"))
    assert value("duplicate_rate@5", a_case(), a_hit(0, 20), a_hit(10, 30)) == 0.5
    assert value("duplicate_rate@5", a_case(), a_hit(0, 20), a_hit(11, 32)) == 0.0  # 9 of 21
    assert value("duplicate_rate@5", a_case(), a_hit(0, 20), a_hit(30, 45), a_hit(16, 34)) == 0.0  # 4 + 4 of 18
    assert value("duplicate_rate@5", a_case(), a_hit(0, 20), a_hit(25, 46), a_hit(15, 30)) == pytest.approx(1 / 3)  # 5 + 5 of 15
    assert value("duplicate_rate@5", a_case(), distinct, copied) == 0.5
    assert value("duplicate_rate@1", a_case(), distinct, copied) == 0.0
    assert value("duplicate_rate@5", unanswerable(), distinct, copied) == 0.5
    assert value("duplicate_rate@5", a_case()) is None


def test_an_empty_retrieval_is_seen_whatever_the_case() -> None:
    assert value("empty", a_case()) == 1.0
    assert value("empty", unanswerable(), a_hit(0, 5)) == 0.0


@pytest.mark.parametrize("name", ["recall@5", "doc_ndcg@10", "span_iou@5", "empty", "duplicate_rate@5"])
def test_retrieval_is_not_judged_where_it_was_not_asked(name: str) -> None:
    cached = replace(a_trace(answer="30 days"), cache=CacheRecord(hit=True))
    blocked = replace(a_trace(refused=True), guard=(GuardVerdict("input", GuardAction.BLOCK, "no"),))
    for trace in (cached, blocked):
        score = metric(name).score(trace, a_case())  # type: ignore[union-attr]
        assert score.value is None
        assert "nothing was searched" in score.reason


def test_nothing_found_scores_zero_and_nothing_to_find_is_not_scored() -> None:
    for name in ("recall@5", "precision@5", "mrr@10", "ndcg@10", "coverage@5", "doc_recall@5"):
        assert value(name, a_case()) == 0.0, name
        score = metric(name).score(a_trace(a_hit(0, 5)), unanswerable())
        assert score.value is None
        assert "unanswerable" in score.reason
    assert "only documents" in metric("recall@5").score(a_trace(), a_case(evidence=[], relevant_ids=["a"])).reason
