from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from harness.gate.champion import champion_path, not_comparable, read_champion, save_champion
from harness.results.numbers import numbers
from harness.results.report import EvalReport
from harness.results.slim import slim
from serving.pipeline.errors import ConfigError, DataError, InfrastructureError
from serving.pipeline.types import Hit
from tests.support.gating import a_report, crashed
from tests.support.making import a_hit


def bulky() -> EvalReport:
    report = a_report(1.0, config={"retrieve": {"top_k": 2}})
    [row] = report.rows
    assert row.trace is not None
    hit: Hit = a_hit(10, 20)
    return EvalReport(report.header, (replace(row, trace=replace(row.trace, hits=(hit,), passages=(hit,), prompt="words " * 500)),))


def test_a_slim_evaluation_keeps_every_number_and_loses_the_texts() -> None:
    report = bulky()
    small = slim(report)
    assert numbers(small) == numbers(report)
    trace = small.rows[0].trace
    assert trace is not None
    assert (trace.prompt, trace.passages, trace.hits[0].chunk.text) == ("", (), "")
    assert trace.hits[0].chunk.span == report.traces[0].hits[0].chunk.span
    assert trace.answer == report.traces[0].answer


def test_a_kept_champion_reads_back_with_its_configuration_beside_it(tmp_path: Path) -> None:
    path = champion_path(tmp_path / "champions", "tiny/v1", "all")
    assert path == tmp_path / "champions" / "tiny-v1-all.jsonl"
    save_champion(bulky(), path)
    back = read_champion(path, golden="tiny/v1", golden_digest="g", split_digest="s")
    assert back == slim(bulky())
    assert yaml.safe_load(path.with_suffix(".yaml").read_text()) == {"retrieve": {"top_k": 2}}


def test_a_champion_of_other_cases_is_refused_with_the_mend(tmp_path: Path) -> None:
    path = tmp_path / "champion.jsonl"
    with pytest.raises(DataError, match="is not there. Run: touchstone champion set"):
        read_champion(path, golden="tiny/v1", golden_digest="g", split_digest="s")
    save_champion(bulky(), path)
    with pytest.raises(DataError, match="made on tiny/v1 g, and tiny/v1 is other now. Run: touchstone champion set"):
        read_champion(path, golden="tiny/v1", golden_digest="other", split_digest="s")
    with pytest.raises(DataError, match="not made on the cases of this split"):
        read_champion(path, golden="tiny/v1", golden_digest="g", split_digest="other")


def test_an_evaluation_with_gaps_is_no_champion(tmp_path: Path) -> None:
    path = tmp_path / "champion.jsonl"
    with pytest.raises(InfrastructureError, match="1 of 2 cases were not answered"):
        save_champion(crashed(bulky(), infrastructure=True), path)
    with pytest.raises(ConfigError, match="'broken' crashed"):
        save_champion(crashed(bulky(), infrastructure=False), path)
    assert not path.exists()


def test_metrics_are_compared_in_one_version_and_by_one_judge_only() -> None:
    head = a_report(1.0).header
    assert not_comparable(head, head, "quality") == ""
    assert "was version 1 for the champion and is 2 now" in not_comparable(head, replace(head, metric_versions={"quality": "2"}), "quality")
    assert "was not scored by token_f1" in not_comparable(head, head, "token_f1")
    judged = replace(head, metrics=("judge_relevance",), judge="local 1")
    assert "judge local 1 and of local 2" in not_comparable(judged, replace(judged, judge="local 2"), "judge_relevance")
    assert not_comparable(head, replace(head, judge="local 2"), "quality") == ""
