"""The report of one evaluation."""

from pathlib import Path

import yaml

from harness.reports.page import kind_rows, render, score_rows, slice_metrics, weakest
from harness.results.report import EvalReport
from harness.results.times import times_text
from serving.storage.files import write_text


def write_evaluation(report: EvalReport, folder: Path, *, name: str = "", run_url: str = "") -> Path:
    """Write `report.html` and `report.md` of an evaluation under its name, by default the folder's; returns the HTML's path."""
    title = name or folder.name
    names = slice_metrics(report)
    page = render(
        "evaluation.html.j2",
        title=title,
        report=report,
        slice_metrics=names,
        weakest=weakest(report, names[0]),
        config=yaml.safe_dump(report.header.config, sort_keys=False),
    )
    lines = [
        f"# {title}",
        "",
        f"{report.header.golden} {report.header.split}, {len(report.rows)} cases, configuration `{report.header.config_digest}`; "
        f"{times_text(report)}.",
        *score_rows(report),
        *kind_rows(report, names),
    ]
    write_text(folder / "report.md", "\n".join([*lines, "", *([f"MLflow: {run_url}"] if run_url else [])]) + "\n")
    write_text(folder / "report.html", page)
    return folder / "report.html"
