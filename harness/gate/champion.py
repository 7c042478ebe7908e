"""The champion: what ships today, as an evaluation recorded in git that candidates are compared with.

reports/champions/techcorp-v1-holdout.jsonl    its evaluation, without the bulk of its traces
reports/champions/techcorp-v1-holdout.yaml     its configuration
"""

import json
import shlex
from pathlib import Path

import yaml

from harness.metrics import asks_judge
from harness.results.case_result import CaseResult
from harness.results.header import Header
from harness.results.report import EvalReport
from harness.results.report_file import read_report, with_sum
from harness.results.slim import slim
from serving.pipeline.codec import Codec
from serving.pipeline.errors import ConfigError, DataError, InfrastructureError
from serving.storage.files import write_text

_HEADER = Codec(Header)
_ROW = Codec(CaseResult)
RECORD_ONE = "Run: touchstone champion set"  # with the gate's file; those in experiments/gates need not be given


def champion_path(champions: Path, golden: str, split: str) -> Path:
    """The file of the champion of a golden set's split."""
    return champions / f"{golden.replace('/', '-')}-{split}.jsonl"


def how_to_record(gate: str) -> str:
    """The command that records a champion of a gate's cases."""
    return f"{RECORD_ONE} {shlex.quote(gate)}" if gate else RECORD_ONE


def read_champion(path: Path, *, golden: str, golden_digest: str, split_digest: str | None, gate: str = "") -> EvalReport:
    """The champion's evaluation, refused when it is not of exactly these cases; `gate` is the file of the gate that asks for it."""
    if not path.is_file():
        raise DataError(f"No champion to compare with: {str(path)!r} is not there. {how_to_record(gate)}")
    report = read_report(path)
    head = report.header
    if (head.golden, head.golden_digest) != (golden, golden_digest):
        raise DataError(f"{path}: made on {head.golden} {head.golden_digest}, and {golden} is {golden_digest} now. {how_to_record(gate)}")
    if split_digest not in (None, head.split_digest):
        raise DataError(f"{path}: not made on the cases of this split. {how_to_record(gate)}")
    return report


def not_comparable(champion: Header, candidate: Header, metric: str) -> str:
    """Why a metric of two evaluations must not be compared; empty when it may be."""
    if metric not in champion.metrics:
        return f"not comparable: the champion was not scored by {metric}. {RECORD_ONE}"
    if asks_judge(metric) and champion.judge != candidate.judge:
        return f"not comparable: {metric} is the word of judge {champion.judge or '?'} and of {candidate.judge or '?'}. {RECORD_ONE}"
    before, after = champion.metric_versions.get(metric, ""), candidate.metric_versions.get(metric, "")
    if before != after:
        return f"not comparable: {metric} was version {before or '?'} for the champion and is {after or '?'} now. {RECORD_ONE}"
    return ""


def save_champion(report: EvalReport, path: Path) -> None:
    """Record an evaluation as the champion, with its configuration beside it; one with errors is refused."""
    if report.outages:
        raise InfrastructureError(f"{len(report.outages)} of {len(report.rows)} cases were not answered; a champion needs all. Try again.")
    if report.errors:
        first = report.errors[0]
        assert first.error is not None
        raise ConfigError(f"Case {first.case.id!r} crashed ({first.error.message}); a champion answers every case.")
    head = report.header
    rows = [_HEADER.dump(head), *(_ROW.dump(row, sparse=True) for row in slim(report).rows)]
    write_text(path, with_sum("".join(json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n" for row in rows)))
    comment = f"# The champion on {head.golden} {head.split}: configuration {head.config_digest}. Made by: touchstone champion set\n"
    write_text(path.with_suffix(".yaml"), comment + yaml.safe_dump(head.config, sort_keys=False, allow_unicode=True))
