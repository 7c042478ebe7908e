"""Pages and trackers show no words of passages that not everyone may read; numbers stay, and what is left out is marked."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.comparison.compare import compare_reports
from harness.reports.comparison import write_comparison
from harness.results.case_result import CaseError
from harness.results.frames import frame_rows
from harness.results.report import EvalReport
from harness.results.restricted import RESTRICTED, for_everyone
from tests.reports.test_evaluation_page import an_evaluation, page_of
from tests.support.making import a_hit

SECRET = "the secret bonus"


def restricted(**access: Any) -> EvalReport:
    report = an_evaluation()
    hit = a_hit(0, 50)
    closed = replace(hit, chunk=replace(hit.chunk, text=SECRET, title=SECRET, **access))
    rows = []
    for row in report.rows:
        assert row.trace is not None
        answer = replace(row.trace.answer, text=f"It is {SECRET}.")
        trace = replace(row.trace, hits=(closed,), passages=(closed,), prompt=f"Read: {SECRET}", answer=answer)
        rows.append(replace(row, trace=trace, case=row.case.model_copy(update={"answers": (SECRET,)})))
    return replace(report, rows=tuple(rows))


@pytest.mark.parametrize("access", [{"groups": ("hr",)}, {"tenant": "acme"}])
def test_a_page_and_a_table_leave_out_what_was_made_of_them(tmp_path: Path, access: dict[str, Any]) -> None:
    report = restricted(**access)
    page = page_of(report, tmp_path)
    assert SECRET not in page
    assert RESTRICTED.split(";")[0] in page
    table = list(frame_rows(for_everyone(report).to_pandas()))
    assert SECRET not in str(table)
    assert for_everyone(report).summary == report.summary


def test_a_comparison_leaves_them_out_too(tmp_path: Path) -> None:
    before = restricted(groups=("hr",))
    worse = tuple(
        replace(row, scores=tuple(replace(one, value=0.0 if one.value is not None else None) for one in row.scores)) for row in before.rows
    )
    comparison = compare_reports(before, replace(before, rows=worse))
    assert comparison.flips
    write_comparison(comparison, ("a", "b"), tmp_path / "compared")
    for path in (tmp_path / "compared").iterdir():
        assert SECRET not in path.read_text(), path.name
    assert RESTRICTED.split(";")[0] in (tmp_path / "compared" / "report.html").read_text()


@pytest.mark.parametrize("found", ["public passages alone", "nothing: it crashed"])
def test_references_of_a_restricted_question_are_left_out_whatever_was_found(tmp_path: Path, found: str) -> None:
    report = an_evaluation()
    asked = {"answers": (SECRET,), "key_facts": (SECRET,), "principal_groups": ("hr",)}
    rows = [replace(row, case=row.case.model_copy(update=asked)) for row in report.rows]
    if found.startswith("nothing"):
        rows = [replace(row, trace=None, error=CaseError("Timeout", "no answer within 120 s", infrastructure=True)) for row in rows]
    report = replace(report, rows=tuple(rows))
    assert SECRET not in page_of(report, tmp_path)
    open_to_all = for_everyone(report)
    assert SECRET not in str(list(frame_rows(open_to_all.to_pandas())))
    assert open_to_all.summary == report.summary
    if not found.startswith("nothing"):
        assert "30 days" in str(list(frame_rows(open_to_all.to_pandas())))  # the answer was made of public passages


def test_what_everyone_may_read_stays_as_it_is(tmp_path: Path) -> None:
    report = restricted()
    assert for_everyone(report) == report
    assert SECRET in page_of(report, tmp_path)
