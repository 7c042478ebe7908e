"""Evaluations and gates made of a few numbers, for tests."""

from pathlib import Path
from typing import Any

import yaml

from harness.gate.decide import decide
from harness.gate.decision import Decision, Ruling
from harness.gate.gate import Gate, load_gate
from harness.gate.leaks import Leaks
from harness.golden.case import Case
from harness.results.case_result import CaseError, CaseResult
from harness.results.header import Header
from harness.results.report import EvalReport
from harness.results.score import Score
from serving.pipeline.types import Answer, Query, Trace, Usage
from tests.support.making import a_case

QUALITY = "quality"


def a_report(*values: float | None, metric: str = QUALITY, cases: list[Case] | None = None, **header: Any) -> EvalReport:
    """An evaluation in which a metric has these values, a case on a document of its own each; `None` is a case without one."""
    known = cases or [a_case(id=f"c{number}", evidence=[], relevant_ids=[f"d{number}"]) for number in range(len(values))]
    rows = tuple(
        CaseResult(case, (Score(metric, value, "" if value is not None else "nothing to score"),), a_trace_of(case.id))
        for case, value in zip(known, values, strict=True)
    )
    facts: dict[str, Any] = {
        "config": {},
        "config_digest": "candidate",
        "index_digest": "i",
        "corpus_digest": "k",
        "golden": "tiny/v1",
        "golden_digest": "g",
        "split": "all",
        "split_digest": "s",
        "metrics": (metric,),
        "metric_versions": {metric: "1"},
        "directions": {metric: "higher"},
    }
    return EvalReport(Header(**facts | header), rows)


def a_trace_of(ident: str, usd: float = 0.01, milliseconds: float = 100.0, *, priced: bool = True) -> Trace:
    """A trace that cost so much and took so long."""
    return Trace(
        ident, Query("?"), "c", "i", answer=Answer("yes"), usage=(Usage("m", 10, 5, usd, priced=priced),), milliseconds=milliseconds
    )


def crashed(report: EvalReport, *, infrastructure: bool) -> EvalReport:
    """The same with one case more, which came to nothing."""
    error = CaseError("ModelError", "the endpoint is down", infrastructure)
    row = CaseResult(a_case(id="broken"), tuple(Score(name, None, "no answer") for name in report.header.metrics), error=error)
    return EvalReport(report.header, (*report.rows, row))


def a_gate(*rules: dict[str, Any], **fields: Any) -> Gate:
    """A gate of these rules; each gets its place as its id."""
    numbered = [{"id": f"r{number}", **rule} for number, rule in enumerate(rules)]
    return Gate.model_validate({"name": "small", "golden": "tiny/v1", "split": "all", "metrics": [QUALITY], **fields, "rules": numbered})


def decided(
    report: EvalReport, *rules: dict[str, Any], champion: EvalReport | None = None, leaks: dict[str, Leaks] | None = None
) -> Decision:
    """What a gate of these rules decides."""
    return decide(a_gate(*rules), report, champion, leaks or {})


def ruled(report: EvalReport, rule: dict[str, Any], champion: EvalReport | None = None) -> Ruling:
    """What one rule finds."""
    return decided(report, rule, champion=champion).rulings[0]


def written(root: Path, gate: dict[str, Any]) -> Path:
    """A gate file."""
    path = root / "gate.yaml"
    path.write_text(yaml.safe_dump(gate))
    return path


def read(root: Path, gate: dict[str, Any]) -> Gate:
    """A gate read from a file."""
    return load_gate(written(root, gate))
