import math

import pytest

from harness.golden.case import Case
from harness.metrics import metric
from tests.harness.making import a_case, a_hit, a_trace, unanswerable

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


def test_nothing_found_scores_zero_and_nothing_to_find_is_not_scored() -> None:
    for name in ("recall@5", "precision@5", "mrr@10", "ndcg@10", "coverage@5", "doc_recall@5"):
        assert value(name, a_case()) == 0.0, name
        score = metric(name).score(a_trace(a_hit(0, 5)), unanswerable())
        assert score.value is None
        assert "unanswerable" in score.reason
    assert "only documents" in metric("recall@5").score(a_trace(), a_case(evidence=[], relevant_ids=["a"])).reason
