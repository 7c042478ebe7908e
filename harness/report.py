"""Reports that one can open: HTML in one file with nothing fetched, and Markdown."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from harness.results import CaseResult, EvalReport
from harness.stats import Interval
from harness.sweep.verdict import SweepResult, p_words
from serving.pipeline.files import write_text

SLICE_METRICS = ("quality", "recall@5", "key_facts", "refusal")
WEAKEST = 15


def write_evaluation(report: EvalReport, folder: Path, *, run_url: str = "") -> Path:
    """Write `report.html` and `report.md` of an evaluation; returns the HTML's path."""
    title = f"{report.header.golden} {report.header.split}"
    names = _slice_metrics(report)
    page = _render(
        "evaluation.html.j2",
        title=title,
        report=report,
        slice_metrics=names,
        weakest=_weakest(report.rows, names[0]),
        config=yaml.safe_dump(report.header.config, sort_keys=False),
    )
    lines = [
        f"# {title}",
        "",
        f"{len(report.rows)} cases, configuration `{report.header.config_digest}`.",
        *_scores(report),
        *_kinds(report, names),
    ]
    write_text(folder / "report.md", "\n".join([*lines, "", *([f"MLflow: {run_url}"] if run_url else [])]) + "\n")
    write_text(folder / "report.html", page)
    return folder / "report.html"


def write_sweep(result: SweepResult, folder: Path) -> Path:
    """Write `report.html` and `report.md` of a sweep; returns the HTML's path."""
    flat = result.experiment.config.flat()
    names = _slice_metrics(result.winner.holdout)
    page = _render(
        "sweep.html.j2",
        title=f"Sweep {result.experiment.name}",
        result=result,
        base_values=flat,
        slice_metrics=names,
        p_words=p_words,
        config=yaml.safe_dump(result.winner.tried.config.model_dump(mode="json"), sort_keys=False),
    )
    lines = [f"# Sweep {result.experiment.name}: {result.verdict}", "", result.reason, *_finalists(result), *_scores(result.winner.holdout)]
    write_text(folder / "report.md", "\n".join([*lines, *_kinds(result.winner.holdout, names)]) + "\n")
    write_text(folder / "report.html", page)
    return folder / "report.html"


def _render(template: str, **values: Any) -> str:
    """Fill a template; everything that comes from documents, questions or models is escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("harness"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template(template).render(**values)


def _slice_metrics(report: EvalReport) -> list[str]:
    """The metrics worth a column of a slice table."""
    known = [name for name in SLICE_METRICS if name in report.summary]
    return known or list(report.header.metrics[:1])


def _weakest(rows: Sequence[CaseResult], metric: str) -> list[CaseResult]:
    """The cases that scored least, those without an answer first."""
    return sorted(rows, key=lambda row: (row.value(metric) if row.error is None else -1.0) or 0.0)[:WEAKEST]


def _scores(report: EvalReport) -> list[str]:
    rows = [f"| {name} | {_number(one.mean)} | {_range(one)} | {one.count}/{len(report.rows)} |" for name, one in report.summary.items()]
    return ["", "| metric | mean | 95 % interval | scored |", "|---|---|---|---|", *rows]


def _kinds(report: EvalReport, names: Sequence[str]) -> list[str]:
    parts = {name: report.slices("kind", name) for name in names}
    kinds = list(parts[names[0]])
    rows = [f"| {kind} | " + " | ".join(_number(parts[name][kind].mean) for name in names) + " |" for kind in kinds]
    return ["", "| kind | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|", *rows]


def _finalists(result: SweepResult) -> list[str]:
    name = result.experiment.objective
    head = ["", f"| trial | {name} tune | {name} holdout | against base | p (Holm) | verdict | $/query |", "|---|---|---|---|---|---|---|"]
    rows = []
    for one in result.finalists:
        held = one.against_base
        cells = [
            str(one.tried.number) if held else "base",
            _number(one.tried.objective),
            _number(one.holdout.mean(name)),
            f"{held.difference:+.3f} [{held.low:+.3f}, {held.high:+.3f}]" if held else "",
            p_words(held.p_value) if held else "",
            held.outcome if held else "",
            _number(one.holdout.costs["usd"], 6),
        ]
        rows.append("| " + " | ".join(f"**{cell}**" if one is result.winner and cell else cell for cell in cells) + " |")
    return [*head, *rows]


def _number(value: float | None, digits: int = 3) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _range(one: Interval) -> str:
    return "–" if one.low is None else f"{one.low:.3f} … {one.high:.3f}"
