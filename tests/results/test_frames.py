import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.comparison.compare import compare_reports
from harness.evaluation.record import record_evaluation
from harness.gate.run_gate import GateResult
from harness.golden.sets import Split
from harness.metrics import metric
from harness.results.case_result import CaseError, CaseResult
from harness.results.display import Display
from harness.results.frames import CASE_COLUMNS, COST_COLUMNS, frame_rows
from harness.results.header import Header
from harness.results.numbers import numbers
from harness.results.report import EvalReport
from harness.results.score import Score
from harness.results.slim import slim
from harness.results.times import milliseconds_text, times_text
from harness.sweep.finalist import Finalist
from harness.sweep.trial import make_trial
from harness.sweep.verdict import SweepResult
from harness.tracking.memory import MemoryRun
from serving.pipeline.types import Route, StageRecord, Usage
from tests.support.gating import decided
from tests.support.making import a_case, a_hit, a_trace, unanswerable
from tests.support.sweeping import experiment

NASTY = "<script>alert('é')</script>"


def a_row(ident: str, value: float | None, **trace: Any) -> CaseResult:
    usage = (Usage("m", 100, 10, 0.002), Usage("e", 7, 0, 0.001, stage="retrieve"))
    whole = replace(a_trace(a_hit(0, 50_000), answer=NASTY), usage=usage, milliseconds=12.5, route=Route("pro", "long"))
    return CaseResult(a_case(id=ident, question=NASTY), (Score("quality", value), Score("usd", 0.003)), replace(whole, **trace))


def a_report(*rows: CaseResult, **header: Any) -> EvalReport:
    facts = (Header({"retrieve": {"top_k": 3}}, "c", "i", "k", "tiny/v1", "g", "tune", "s", ("quality", "usd")),)
    return EvalReport(replace(*facts, amounts=("usd",), directions={"quality": "higher", "usd": "lower"}, **header), rows)


FAILED = CaseResult(
    unanswerable(), (Score("quality", None, "no answer"), Score("usd", None)), error=CaseError("E", "gone", infrastructure=True)
)
REPORT = a_report(a_row("c1", 0.5), a_row("c2", 1.0, usage=(Usage("m", priced=False),)), FAILED)


def test_a_case_is_a_row_with_its_scores_and_what_it_cost() -> None:
    frame = REPORT.to_pandas()
    assert list(frame.columns) == [*CASE_COLUMNS, "quality", "usd", *(name for name in COST_COLUMNS if name != "usd")]
    assert frame["case"].tolist() == ["c1", "c2", "u1"]
    first = frame.iloc[0]
    assert (first["quality"], first["input_tokens"], first["output_tokens"], first["usd"]) == (0.5, 100, 10, 0.003)
    assert (first["milliseconds"], first["tier"], bool(first["refused"])) == (12.5, "pro", False)
    assert frame["input_tokens"].isna().tolist() == [False, True, True]  # a model that tells no tokens has not used none
    assert frame["usd"].isna().tolist() == [False, True, True]
    assert frame["error"].tolist() == ["", "", "gone"]
    assert str(frame["quality"].dtype) == "float64"
    assert frame["quality"].mean() == 0.75


def test_the_time_of_what_was_kept_from_before_is_no_number_of_any_table() -> None:
    kept = a_row("c1", 0.5, stages=(StageRecord("answer", "d", 900.0, {"kept_ms": 890.0}),), milliseconds=900.0)
    partly = a_row("c2", 0.5, stages=(StageRecord("retrieve", "d", 1.0, {"kept_parts": 2}),), milliseconds=40.0)
    computed = a_row("c3", 0.5, stages=(StageRecord("retrieve", "d", 6.0),), milliseconds=50.0)
    report = a_report(kept, partly, computed)
    assert report.times["total"] == {"p50": 50.0, "p95": 50.0, "p99": 50.0}
    assert report.times["retrieve"]["p50"] == 6.0 and "answer" not in report.times
    assert report.kept == 2
    assert report.to_pandas()["milliseconds"].isna().tolist() == [True, True, False]
    assert report.to_pandas()["kept"].tolist() == [True, True, False]
    assert slim(report).kept == 2 and slim(report).times == report.times  # which is how sweeps and champions keep reports
    only = a_report(kept)
    assert only.times == {} and only.time("p50") is None
    assert "ms.total.p50" not in numbers(only)
    assert milliseconds_text(only, "p50") == "kept" and "kept from before" in times_text(only)
    assert metric("latency_ms").score(kept.trace, None).value is None  # type: ignore[union-attr]
    assert metric("latency_ms").score(computed.trace, None).value == 50.0  # type: ignore[union-attr]


def test_a_metric_is_a_row_of_the_summary() -> None:
    summary = REPORT.summary_frame()
    assert summary.loc["quality", ["mean", "scored", "direction"]].tolist() == [0.75, 2, "higher"]
    assert summary.loc["quality", "coverage"] == pytest.approx(2 / 3)
    assert a_report(FAILED).summary_frame()["mean"].isna().all()
    assert a_report().to_pandas().shape[0] == 0


def test_what_is_missing_is_null_in_what_a_tracker_is_told() -> None:
    run = MemoryRun("r", "x")
    record_evaluation(run, REPORT, Split("tiny/v1", "tune", (), "g"))
    rows = run.logged_tables["cases.json"]
    assert [row["quality"] for row in rows] == [0.5, 1.0, None]
    assert [row["refused"] for row in rows] == [False, False, None]
    assert "NaN" not in json.dumps(rows)
    assert run.logged_params == {"retrieve.top_k": "3"}


def a_sweep() -> SweepResult:
    asked = experiment(objective=["quality", "cost.usd"], constraints={"ms.total.p95": {"at_most": 5}})
    trials = [
        make_trial(asked, number, {"retrieve.top_k": number + 1}, asked.apply({"retrieve.top_k": number + 1}), report, REPORT)
        for number, report in enumerate((a_report(*[a_row(f"c{place}", 0.5) for place in range(20)]), a_report(FAILED)))
    ]
    finalist = Finalist(replace(trials[0], label="base"), trials[0].report, None)
    return SweepResult(asked, (replace(trials[0], label="base"), trials[1]), (finalist,), finalist, NASTY * 50, "", "")


def test_a_trial_is_a_row_in_optunas_manner() -> None:
    frame = a_sweep().trials_dataframe()
    assert list(frame.columns[:3]) == ["number", "values_quality", "values_cost.usd"]
    assert frame["params_retrieve.top_k"].tolist() == [1, 2]
    assert frame["state"].tolist() == ["COMPLETE", "FAIL"]
    assert frame["values_quality"].isna().tolist() == [False, True]
    assert frame["user_attrs_label"].tolist() == ["base", ""]
    assert frame[["user_attrs_cases", "user_attrs_of_cases"]].to_numpy().tolist() == [[20, 20], [1, 20]]
    assert frame["user_attrs_violation_ms.total.p95"].tolist() == [7.5, 1.0]


def shown() -> dict[str, Any]:
    many = a_report(*[a_row(f"c{place}", place / 50) for place in range(50)])
    wide = replace(many, header=replace(many.header, metrics=tuple(f"metric_{number}" * 9 for number in range(60))))
    rules = [{"rule": "floor", "metric": "quality", "at_least": 0.9, "id": f"r{number}" * 9} for number in range(40)]
    return {
        "report": many,
        "report of many metrics": wide,
        "case": many.rows[0],
        "case with many reasons": replace(many.rows[0], scores=tuple(Score(f"m{n}", 0.5, NASTY * 30) for n in range(50))),
        "comparison": compare_reports(many, many),
        "gate": GateResult(decided(many, *rules), many),
        "sweep": a_sweep(),
        "trial": a_sweep().trials[0],
        "split": Split("tiny/v1", "tune", tuple(row.case for row in many.rows), "g"),
    }


@pytest.mark.parametrize("name", list(shown()))
def test_a_result_shows_itself_in_under_2000_characters(name: str) -> None:
    value = shown()[name]
    assert 20 < len(repr(value)) < 2000
    if hasattr(value, "_repr_html_"):
        page = value._repr_html_()
        assert 50 < len(page) < 20_000
        assert "<script" not in page
        assert not {"color", "background"} & set(page.replace(":", " ").replace('"', " ").split())


@given(st.text(), st.lists(st.lists(st.text(), min_size=2, max_size=2), max_size=30), st.lists(st.text(), max_size=9))
def test_whatever_is_shown_is_short_and_escaped(title: str, rows: list[list[str]], notes: list[str]) -> None:
    made = Display(title, ("a", "b"), rows, notes)
    assert len(made.text) < 2000
    inside = made.html
    for tag in ("div", "strong", "table", "thead", "tbody", "tr", "th", "td"):
        inside = inside.replace(f"<{tag}>", "").replace(f"</{tag}>", "").replace(f'<{tag} style="text-align: left">', "")
    assert "<" not in inside


def test_missing_numbers_of_any_kind_become_null() -> None:
    import pandas as pd

    frame = pd.DataFrame({"a": [1.0, math.nan], "b": pd.array([1, None], dtype="Int64"), "c": ["x", None]})
    assert list(frame_rows(frame)) == [{"a": 1.0, "b": 1, "c": "x"}, {"a": None, "b": None, "c": None}]


@pytest.mark.slow
def test_pandas_is_loaded_by_frames_only() -> None:
    script = "import sys, touchstone, serving.app.main; assert 'pandas' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", script], cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-500:]
