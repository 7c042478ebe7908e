from dataclasses import replace
from pathlib import Path

from harness.metrics import METRICS
from harness.reports import write_evaluation
from harness.reports.page import about_metric
from harness.results.case_result import CaseResult
from harness.results.header import Header
from harness.results.report import EvalReport
from harness.results.score import Score
from serving.pipeline.types import StageRecord
from tests.support.making import a_case, a_hit, a_trace

STAGES = (StageRecord("guard", "d", 0.004), StageRecord("retrieve", "d", 12.0), StageRecord("answer", "d", 30.0))


def an_evaluation(**trace: object) -> EvalReport:
    rows = []
    for number in range(12):
        answered = replace(a_trace(a_hit(0, 50), answer="30 days"), stages=STAGES, milliseconds=42.0, **trace)  # type: ignore[arg-type]
        scores = (Score("recall@5", 1.0), Score("missed_refusal", None, "answerable"), Score("over_refusal", 0.0), Score("quality", 0.5))
        rows.append(CaseResult(a_case(id=f"c{number}"), scores, answered))
    metrics = ("recall@5", "missed_refusal", "over_refusal", "quality")
    about = ("c", "i", "k", "t/v1", "g", "tune", "s", metrics)
    return EvalReport(Header({}, *about, directions={"over_refusal": "lower", "missed_refusal": "lower"}), tuple(rows))


def page_of(report: EvalReport, folder: Path) -> str:
    return write_evaluation(report, folder / "monday").read_text()


def test_a_page_is_called_by_the_runs_name_and_begins_with_the_objective(tmp_path: Path) -> None:
    page = page_of(an_evaluation(), tmp_path)
    assert "<title>monday · Touchstone</title>" in page and "<h1>monday</h1>" in page
    table = page[page.index("<h2>Scores</h2>") :]
    assert table.index(">quality<") < table.index(">recall@5<")
    markdown = (tmp_path / "monday" / "report.md").read_text()
    assert markdown.startswith("# monday\n") and markdown.index("| quality |") < markdown.index("| recall@5 |")


def test_each_metric_says_what_it_is(tmp_path: Path) -> None:
    page = page_of(an_evaluation(), tmp_path)
    says = about_metric("over_refusal")
    assert says.startswith("1 when an answerable question is refused")
    assert f'<abbr title="{says}" aria-label="over_refusal: {says}">' in page
    assert f"<dd>{says}</dd>" in page  # where nothing can be pointed at
    assert "(low is good)" in page
    assert all(about_metric(name) for name in METRICS.own_names())
    assert about_metric("no-such-metric@5") == ""


def test_stages_that_did_nothing_are_left_out(tmp_path: Path) -> None:
    page = page_of(an_evaluation(), tmp_path)
    assert "<td>retrieve</td><td>12.0</td>" in page
    assert "<td>guard</td>" not in page


def test_answers_that_were_kept_have_no_time_on_the_page(tmp_path: Path) -> None:
    kept = (*STAGES[:2], StageRecord("answer", "d", 900.0, {"kept_ms": 899.0}))
    page = write_evaluation(an_evaluation(), tmp_path / "computed").read_text()
    assert "42 ms" in page and "kept from before" not in page
    rows = tuple(replace(row, trace=replace(row.trace, stages=kept)) for row in an_evaluation().rows if row.trace)
    page = page_of(EvalReport(an_evaluation().header, rows), tmp_path)
    assert "12 of 12 answers, or parts of them, were kept from before: their times are not counted" in page
    assert "42 ms" not in page and "<td>total</td>" not in page
    assert "time not measured" in (tmp_path / "monday" / "report.md").read_text()
