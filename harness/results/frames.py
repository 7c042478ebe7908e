"""An evaluation as pandas data frames: a row per case, a row per metric."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from harness.results.case_result import CaseResult
    from harness.results.report import EvalReport

CASE_COLUMNS = ("case", "kind", "domain", "difficulty", "question", "reference", "answer", "refused", "tier", "error")
COST_COLUMNS = ("input_tokens", "output_tokens", "usd", "milliseconds", "kept")


def case_frame(report: "EvalReport") -> "pd.DataFrame":
    """A row per case: question, answer, every score (missing where unscored), tokens, dollars, milliseconds (missing where kept)."""
    import pandas as pd

    metrics = report.header.metrics
    columns = list(dict.fromkeys([*CASE_COLUMNS, *metrics, *COST_COLUMNS]))  # dollars and tokens may be among the metrics
    frame = pd.DataFrame([_row(row, metrics) for row in report.rows], columns=columns)
    types = dict.fromkeys((*metrics, "usd", "milliseconds"), "float64") | dict.fromkeys(("input_tokens", "output_tokens"), "Int64")
    return frame.astype(types | {"refused": "boolean", "kept": "boolean"})


def summary_frame(report: "EvalReport") -> "pd.DataFrame":
    """A row per metric: mean, confidence interval, scored cases, coverage, direction."""
    import pandas as pd

    rows = [
        {
            "metric": name,
            "mean": interval.mean,
            "low": interval.low,
            "high": interval.high,
            "scored": interval.count,
            "coverage": interval.count / max(1, len(report.rows)),
            "direction": report.header.directions.get(name, "higher"),
        }
        for name, interval in report.summary.items()
    ]
    columns = ["metric", "mean", "low", "high", "scored", "coverage", "direction"]
    return pd.DataFrame(rows, columns=columns).astype(dict.fromkeys(("mean", "low", "high"), "float64")).set_index("metric")


def frame_rows(frame: "pd.DataFrame") -> Iterator[Mapping[str, Any]]:
    """The rows of a frame as plain data, with `None` for missing values, since JSON has no NaN."""
    objects = frame.astype(object)
    for row in objects.where(frame.notna(), None).to_dict("records"):
        yield {str(name): value for name, value in row.items()}


def _row(row: "CaseResult", metrics: tuple[str, ...]) -> dict[str, Any]:
    case, trace = row.case, row.trace
    usage = trace.usage if trace else ()
    price_known = trace is not None and all(use.priced for use in usage)
    tokens_known = trace is not None and not any(use.calls and not use.priced and not use.input_tokens + use.output_tokens for use in usage)
    answers = [use for use in usage if use.stage == "answer"]
    return {
        "case": case.id,
        "kind": case.kind,
        "domain": case.domain,
        "difficulty": case.difficulty,
        "question": case.question,
        "reference": case.answers[0] if case.answers else "",
        "answer": trace.answer.text if trace else "",
        "refused": trace.answer.refused if trace else None,
        "tier": trace.route.tier if trace and trace.route else "",
        "error": row.error.message if row.error else "",
        **{name: row.value(name) for name in metrics},
        "input_tokens": sum(use.input_tokens for use in answers) if tokens_known else None,
        "output_tokens": sum(use.output_tokens for use in answers) if tokens_known else None,
        "usd": trace.usd if trace and price_known else None,
        "milliseconds": trace.milliseconds if trace and not trace.kept else None,
        "kept": trace.kept if trace else None,
    }
