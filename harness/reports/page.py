"""Parts of all reports: templates, Markdown tables, slices, the weakest cases."""

import inspect
from collections.abc import Sequence
from typing import Any

from harness.metrics import METRICS
from harness.results.case_result import CaseResult
from harness.results.report import EvalReport
from harness.results.restricted import row_for_everyone
from harness.stats import Interval
from harness.stats.text import number_text

SLICE_METRICS = ("quality", "recall@5", "key_facts", "missed_refusal", "over_refusal")
WEAKEST = 15


def render(template: str, **values: Any) -> str:
    """Fill a template; everything that comes from documents, questions or models is escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("harness"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template(template).render(about=about_metric, **values)


def about_metric(name: str) -> str:
    """What a metric says, in the sentence of its own; nothing of one that is not known here."""
    label = name.partition("@")[0]
    if not METRICS.knows(label):
        return ""
    return " ".join((inspect.getdoc(METRICS.load(label)) or "").partition("\n\n")[0].split())


def slice_metrics(report: EvalReport, goal: str = "") -> list[str]:
    """The metrics worth a column of a slice table, what was searched for first."""
    chosen = [name for name in dict.fromkeys([goal, *SLICE_METRICS]) if name in report.summary]
    return chosen or list(report.header.metrics[:1])


def weakest(report: EvalReport, metric: str) -> list[CaseResult]:
    """The cases that scored worst, those that crashed first, as everyone may read them; one that has no score is not weak."""
    sign = -1.0 if report.header.directions.get(metric) == "lower" else 1.0
    scored = [row for row in report.rows if row.error is None and row.value(metric) is not None]
    worst = [*report.errors, *sorted(scored, key=lambda row: sign * (row.value(metric) or 0.0))][:WEAKEST]
    return list(map(row_for_everyone, worst))


def objective_first(report: EvalReport, goal: str = "quality") -> dict[str, Interval]:
    """The metrics of an evaluation, what is searched for first."""
    return dict(sorted(report.summary.items(), key=lambda item: item[0] != goal))


def score_rows(report: EvalReport) -> list[str]:
    """Every metric of an evaluation as a Markdown table."""
    count = len(report.rows)
    rows = [
        [name, number_text(interval.mean), interval_text(interval), f"{interval.count}/{count}"]
        for name, interval in objective_first(report).items()
    ]
    return ["", *markdown_table(["metric", "mean", "95 % interval", "scored"], rows)]


def kind_rows(report: EvalReport, names: Sequence[str]) -> list[str]:
    """Some metrics by kind of question as a Markdown table."""
    parts = {name: report.slices("kind", name) for name in names}
    return [
        "",
        *markdown_table(["kind", *names], [[kind, *(number_text(parts[name][kind].mean) for name in names)] for kind in parts[names[0]]]),
    ]


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table; a cell cannot end its row."""
    return [_row(head), "|" + "---|" * len(head), *(_row(row) for row in rows)]


def one_line(text: str) -> str:
    """A text that stays in its line, and in which no tag begins."""
    return " ".join(text.split()).replace("<", "&lt;")


def interval_text(interval: Interval) -> str:
    """An interval's ends, or a dash."""
    return "–" if interval.low is None or interval.high is None else f"{interval.low:.3f} … {interval.high:.3f}"


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(one_line(cell).replace("|", "\\|") for cell in cells) + " |"
