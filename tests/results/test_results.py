import json
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest

from harness.results.case_result import CaseError, CaseResult
from harness.results.frames import frame_rows
from harness.results.header import Header
from harness.results.report import EvalReport
from harness.results.report_file import read_report, write_report
from harness.results.score import Score
from serving.pipeline.errors import DataError
from serving.pipeline.types import Route, SourceRank, StageRecord, Trace, Usage
from tests.support.making import a_case, a_hit, a_trace, unanswerable


def a_full_trace() -> Trace:
    hit = replace(a_hit(0, 15), sources=MappingProxyType({"vector": SourceRank(1, 0.5)}))
    usage = Usage("local:reader-lite", 100, 10, 0.001, simulated=True)
    stages = (StageRecord("retrieve", "d", 1.5, {"candidates": 3}), StageRecord("answer", "d", 2.5))
    whole = a_trace(hit, answer="30 days [1] – ß\u2028\x85 next", cited=(0,))
    return replace(whole, route=Route("pro", "long", 0.7, {"words": 0.3}), usage=(usage,), stages=stages, milliseconds=5.0)


def a_report(*rows: CaseResult) -> EvalReport:
    header = Header({"retrieve": {"top_k": 3}}, "c", "i", "k", "tiny/v1", "g", "tune", "s", ("token_f1",))
    return EvalReport(header, rows)


SCORED = CaseResult(a_case(), (Score("token_f1", 0.5),), a_full_trace())
UNSCORED = CaseResult(unanswerable(), (Score("token_f1", None, "no reference"),), a_trace(refused=True))
FAILED = CaseResult(a_case(id="c2"), (Score("token_f1", None, "no answer"),), error=CaseError("ModelError", "gone", infrastructure=True))


def test_a_report_comes_back_from_jsonl_as_it_was(tmp_path: Path) -> None:
    report = a_report(SCORED, UNSCORED, FAILED)
    write_report(report, tmp_path / "cases.jsonl")
    back = read_report(tmp_path / "cases.jsonl")
    assert back.header == report.header
    assert [row.scores for row in back.rows] == [row.scores for row in report.rows]
    assert back.rows[0].trace == report.rows[0].trace
    write_report(back, tmp_path / "again.jsonl")
    assert (tmp_path / "again.jsonl").read_bytes() == (tmp_path / "cases.jsonl").read_bytes()


def test_a_mean_is_over_the_scored_and_says_how_many_they_are() -> None:
    report = a_report(SCORED, UNSCORED, FAILED)
    assert report.summary["token_f1"].mean == 0.5
    assert report.summary["token_f1"].count == 1
    assert report.outages == [FAILED]
    assert report.costs["usd"] == pytest.approx(0.0005)
    assert report.costs["pro_share"] == report.costs["tier_share.pro"] == 0.5
    assert report.tier_shares == {"pro": 0.5}  # the other one was not routed
    assert report.times["answer"]["p50"] == 2.5
    assert report.simulated


def test_nothing_scored_has_no_mean() -> None:
    assert a_report(FAILED).mean("token_f1") is None
    assert a_report(FAILED).costs == {}


def test_slices_and_tables_keep_every_row() -> None:
    report = a_report(SCORED, UNSCORED, FAILED)
    assert report.slices("kind", "token_f1")["factoid"].count == 1
    assert report.slices("kind", "token_f1")["unanswerable"].mean is None
    rows = list(frame_rows(report.to_pandas()))
    assert [row["error"] for row in rows] == ["", "", "gone"]
    assert rows[0]["token_f1"] == 0.5
    assert rows[2]["token_f1"] is None


@pytest.mark.parametrize(("content", "words"), [("", r":1: not a line"), ("{}\n", r":1: not a line"), (None, "cannot be read")])
def test_a_file_that_is_no_report_says_so(tmp_path: Path, content: str | None, words: str) -> None:
    path = tmp_path / "cases.jsonl"
    if content is not None:
        path.write_text(content)
    with pytest.raises(DataError, match=words):
        read_report(path)


def test_dollars_are_unknown_where_one_model_has_no_known_price() -> None:
    from dataclasses import replace

    unpriced = replace(a_full_trace(), usage=(Usage("m", 10, 5, priced=False),))
    assert a_report(SCORED, CaseResult(a_case(id="c3"), (), unpriced)).costs["usd"] is None


def test_tokens_are_those_of_answers_read_as_well_as_written() -> None:
    rewritten = replace(a_trace(a_hit(0, 15)), usage=(Usage("m", 100, 10), Usage("m", 40, 7, stage="retrieve")))
    costs = a_report(CaseResult(a_case(), (), rewritten)).costs
    assert (costs["input_tokens"], costs["output_tokens"]) == (100, 10)


def test_a_report_from_before_prompts_were_named_is_read(tmp_path: Path) -> None:
    write_report(a_report(SCORED), tmp_path / "cases.jsonl")
    head, text = (tmp_path / "cases.jsonl").read_text().split("\n", 1)
    old = json.loads(head)
    assert old.pop("sha256")  # reports had none then
    assert old.pop("prompts_digest") == ""
    (tmp_path / "cases.jsonl").write_text(f"{json.dumps(old)}\n{text}")
    assert read_report(tmp_path / "cases.jsonl").header.prompts_digest == ""
