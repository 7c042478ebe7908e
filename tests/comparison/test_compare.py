import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from harness.comparison.compare import compare_reports
from harness.comparison.pairs import compare_metric
from harness.golden.case import Case
from harness.reports.comparison import comparison_json, write_comparison
from harness.results.case_result import CaseError, CaseResult
from harness.results.header import Header
from harness.results.report import EvalReport
from harness.results.score import Score
from harness.stats.text import DETECTABLE
from serving.pipeline.errors import DataError
from serving.pipeline.types import Usage
from tests.support.making import a_case, a_hit, a_trace

Scores = Sequence[float | None]


def a_report(
    quality: Scores, latency: Scores | None = None, *, cases: Sequence[Case] | None = None, answer: str = "A", **head: object
) -> EvalReport:
    """Cases c0, c1, … on a document each, scored by quality (higher) and latency (lower is better)."""
    trace = replace(a_trace(a_hit(0, 50, "d0"), answer=answer), usage=(Usage("m", 10, 5, 0.001),), milliseconds=10.0)
    asked = cases or [a_case(id=f"c{n}", evidence=[], relevant_ids=[f"d{n}"]) for n in range(len(quality))]
    late = latency or [1.0] * len(quality)
    rows = [
        CaseResult(case, (Score("quality", value), Score("latency", wait)), trace)
        for case, value, wait in zip(asked, quality, late, strict=True)
    ]
    header = Header({"retrieve": {"top_k": 3}}, "c", "i", "k", "t/v1", "g", "tune", "s", ("quality", "latency"))
    header = replace(header, directions={"quality": "higher", "latency": "lower"}, metric_versions={"quality": "1", "latency": "1"})
    return EvalReport(replace(header, **head), tuple(rows))  # type: ignore[arg-type]


LOW, HIGH = [0.1, 0.2, 0.3] * 10, [0.8, 0.7, 0.9] * 10


def test_dollars_by_different_prices_are_told() -> None:
    one, other = a_report(LOW, prices="the list"), a_report(LOW, prices="prices.yaml (abc), then the list")
    [note] = [note for note in compare_reports(one, other).notes if "prices" in note]
    assert note.startswith("The dollars are by different prices: A's by the list; B's by prices.yaml (abc)")
    assert not any("prices" in note for note in compare_reports(one, one).notes)
    assert not any("prices" in note for note in compare_reports(a_report(LOW), one).notes)  # an evaluation of before tells none


def test_a_gain_is_better_and_more_of_what_should_be_low_is_worse() -> None:
    found = compare_reports(a_report(LOW, [1.0] * 30), a_report(HIGH, [2.0] * 30))
    quality, latency = found.metrics
    assert (quality.outcome, latency.outcome) == ("better", "worse")
    assert quality.comparison.difference == pytest.approx(0.6)
    assert latency.comparison.difference == 1.0
    assert found.verdict == "B is better by quality; worse by latency."


def test_p_values_are_corrected_for_the_number_of_metrics() -> None:
    # six cases gained of six: 2 / 2⁶ = 0.031 alone, twice that with a second metric beside it
    before, after = a_report([0.0] * 6), a_report([1.0] * 6)
    [alone] = compare_reports(before, after, ["quality"]).metrics
    assert (alone.comparison.p_value, alone.outcome) == (pytest.approx(1 / 32), "better")
    both = compare_reports(before, after).metrics[0]
    held = both.comparison
    assert (held.raw_p, held.p_value, both.outcome) == (pytest.approx(1 / 32), pytest.approx(1 / 16), "undecided")


def test_only_cases_that_both_scored_count_and_the_others_are_told() -> None:
    found = compare_reports(a_report([0.0, None, 0.0, None]), a_report([1.0, 1.0, 0.0, None]), ["quality"])
    [quality] = found.metrics
    assert (quality.comparison.count, quality.unpaired, quality.after.mean) == (2, 1, 0.5)


def test_questions_on_one_document_are_held_together() -> None:
    cases = [a_case(id=f"c{n}", evidence=[], relevant_ids=[f"d{n // 2}"]) for n in range(60)]
    before, after = a_report([0.0] * 60, cases=cases), a_report([1.0, 0.0] * 30, cases=cases)
    together = compare_metric(before, after, "quality")  # each of 30 documents gains exactly one of two
    assert (together.spread, together.clusters) == (pytest.approx(0.0), 30)
    alone = a_report([0.0] * 60), a_report([1.0, 0.0] * 30)
    assert compare_metric(*alone, "quality").spread > 0.4


def test_few_documents_are_clusters_all_the_same_and_are_noted() -> None:
    cases = [a_case(id=f"c{n}", evidence=[], relevant_ids=[f"d{n % 3}"]) for n in range(30)]
    few = compare_reports(a_report(LOW, cases=cases), a_report(HIGH, cases=cases))
    assert any("The 30 cases rest on 3 documents" in note for note in few.notes)
    assert few.metrics[0].outcome == "undecided"
    many = compare_reports(a_report(LOW), a_report(HIGH))
    assert many.metrics[0].outcome == "better"
    assert not any("rest on" in note for note in many.notes)


def test_a_case_flips_when_a_score_moves_by_half_its_range() -> None:
    before = a_report([0.0, 1.0, 0.2, 0.5], [0.0, 1.0, 1.0, 0.0])
    after = a_report([0.5, 0.0, 0.6, 0.5], [1.0, 1.0, 1.0, 0.0])
    found = compare_reports(before, after)
    assert {flip.after.case.id: flip.outcome for flip in found.flips} == {"c0": "mixed", "c1": "lost"}
    assert [len(found.flipped(way)) for way in ("gained", "lost", "mixed")] == [0, 1, 1]


def test_milliseconds_do_not_flip() -> None:
    assert compare_reports(a_report([0.0], [10.0]), a_report([0.0], [90.0])).flips == ()


def test_slices_are_corrected_for_all_that_were_looked_at() -> None:
    cases = [a_case(id=f"c{n}", domain="hr" if n < 6 else "it", evidence=[], relevant_ids=[f"d{n}"]) for n in range(12)]
    found = compare_reports(a_report([0.0] * 12, cases=cases), a_report([1.0] * 6 + [0.0] * 6, cases=cases), ["quality"])
    hr, it = found.slices
    assert (hr.name, hr.comparison.p_value, hr.comparison.outcome) == ("hr", pytest.approx(2 / 32), "undecided")  # 1/32, of two slices
    assert (it.name, it.comparison.difference) == ("it", 0.0)


def test_what_was_changed_is_named_by_path_and_the_same_is_called_the_same() -> None:
    other = a_report(LOW, config={"retrieve": {"top_k": 5}, "new": 1}, config_digest="d")
    changes = compare_reports(a_report(LOW), other).changes
    assert [(change.path, change.before, change.after) for change in changes] == [("new", None, 1), ("retrieve.top_k", 3, 5)]
    assert "same configuration (c)" in compare_reports(a_report(LOW), a_report(LOW)).notes[0]
    assert "the prompts, the documents or the code differ" in compare_reports(a_report(LOW), a_report(LOW, config_digest="d")).notes[0]


@pytest.mark.parametrize(
    ("head", "words"),
    [
        ({"golden": "u/v1"}, "the golden set differs, 't/v1' and 'u/v1'"),
        ({"golden_digest": "h"}, "the content of t/v1 differs, 'g' and 'h'"),
        ({"split": "holdout"}, "the split differs, 'tune' and 'holdout'"),
    ],
)
def test_other_questions_cannot_be_compared(head: dict[str, object], words: str) -> None:
    with pytest.raises(DataError, match=words):
        compare_reports(a_report(LOW), a_report(LOW, **head))


def test_evaluations_without_a_common_case_cannot_be_compared() -> None:
    with pytest.raises(DataError, match="no case in common"):
        compare_reports(a_report([1.0]), a_report([1.0], cases=[a_case(id="other")]))


def test_a_metric_of_another_version_is_left_out_or_refused_when_asked_for() -> None:
    older = a_report(LOW, metric_versions={"quality": "0", "latency": "1"})
    found = compare_reports(older, a_report(HIGH))
    assert [one.metric for one in found.metrics] == ["latency"]
    assert any("different versions of the metric: quality" in note for note in found.notes)
    with pytest.raises(DataError, match="version 0, in B 1"):
        compare_reports(older, a_report(HIGH), ["quality"])
    with pytest.raises(DataError, match="'qualty' is not in both evaluations. Did you mean 'quality'"):
        compare_reports(older, a_report(HIGH), ["qualty"])


def test_cases_without_an_answer_and_other_judges_are_noted() -> None:
    whole = a_report(LOW, judge="local 1")
    gone = CaseResult(whole.rows[0].case, (Score("quality", None, "no answer"),), error=CaseError("X", "oops", infrastructure=False))
    notes = compare_reports(a_report(LOW[:29]), EvalReport(whole.header, (gone, *whole.rows[1:]))).notes
    assert any(note.startswith("B has no answer to 1 of 30") and note.endswith("oops") for note in notes)
    assert any("Different judges: none and local 1" in note for note in notes)
    assert any("Only the 29 cases of both count; A has 29, B 30." in note for note in notes)


def test_a_comparison_with_an_outage_says_what_was_out_of_reach() -> None:
    whole = a_report(LOW[:1])
    error = CaseError("ModelError", "the endpoint is down", infrastructure=True)
    dead = EvalReport(whole.header, (CaseResult(whole.rows[0].case, (Score("quality", None), Score("latency", None)), error=error),))
    with pytest.raises(DataError, match="A: 1 of 1 cases have no answer, c0: the endpoint is down"):
        compare_reports(dead, whole)


def test_dollars_have_a_paired_difference_where_every_price_is_known() -> None:
    found = compare_reports(a_report(LOW), a_report(LOW))
    money = found.costs[0]
    assert (money.before, money.comparison and money.comparison.outcome) == (pytest.approx(0.001), "equivalent")
    blind = EvalReport(found.after.header, tuple(replace(row, trace=a_trace()) for row in found.after.rows))
    unknown = replace(blind.rows[0], trace=replace(a_trace(), usage=(Usage("m", 1, 1, priced=False),)))
    assert compare_reports(a_report(LOW), EvalReport(blind.header, (unknown, *blind.rows[1:]))).costs[0].comparison is None


def test_files_escape_what_models_and_documents_say_and_fetch_nothing(tmp_path: Path) -> None:
    found = compare_reports(a_report(LOW, answer="<b>x</b>"), a_report(HIGH, answer="<script>y</script>"))
    found = replace(found, notes=("what <img> said",))
    page = write_comparison(found, ("one <i>", "two"), tmp_path)
    text = page.read_text()
    assert "&lt;script&gt;" in text and "<script" not in text and "<b>x" not in text and "one <i>" not in text
    assert "src=" not in text and "href=" not in text
    assert "Gained by B: 30 cases" in text
    markdown = (tmp_path / "report.md").read_text()
    assert markdown.startswith("# B is better by quality; undecided by latency.\n")
    assert "<i" not in markdown
    assert "| quality | 0.200 | 0.800 | +0.600 [" in markdown
    assert all(f"Detectable: {DETECTABLE}." in (tmp_path / name).read_text() for name in ("report.md", "report.html"))
    assert "| dollars a query | $0.001000 | $0.001000 |" in markdown


def test_json_has_every_number_and_is_valid_where_nothing_is_detectable(tmp_path: Path) -> None:
    found = compare_reports(a_report([0.0]), a_report([0.7]))
    write_comparison(found, ("a", "b"), tmp_path)

    def refuse(word: str) -> None:
        raise AssertionError(word)

    read = json.loads((tmp_path / "compare.json").read_text(), parse_constant=refuse)
    assert read == json.loads(json.dumps(comparison_json(found, ("a", "b"))))
    assert read["metrics"][0]["detectable"] is None
    assert read["flips"][0]["moves"] == [{"metric": "quality", "before": 0.0, "after": 0.7, "better": True}]
