"""`touchstone confidence`: the confidence of answers, fitted on results of the tune split and compared with results of the holdout."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.interrupt import run_async
from harness.cli.options import AsJson, print_json
from harness.settings import read_settings

if TYPE_CHECKING:
    from harness.calibrate.reliability import Reliability
    from harness.stats import Interval

Results = Annotated[
    list[Path], typer.Argument(metavar="CASES", help="cases.jsonl of `touchstone eval --split tune`; several make a better fit.")
]
Shown = Annotated[
    list[Path] | None, typer.Option("--show", metavar="CASES", help="cases.jsonl of the holdout, to hold the fit against. Repeatable.")
]


def confidence(
    results: Results,
    show: Shown = None,
    out: Annotated[Path, typer.Option("--out", help="The folder of the report.")] = Path("reports/confidence"),
    as_json: AsJson = False,
) -> None:
    """Fit how probably an answer is right, and show how well that agrees with what was right.

    Writes an artefact for guard.output.confidence.fitted, and with --show a page with the reliability curve.
    """
    from harness.project.confidence import fit_from_results

    fitted = run_async(fit_from_results(read_settings(), results, show or (), out))
    if as_json:
        print_json({**asdict(fitted), "page": str(fitted.page) if fitted.page else None})
        return
    typer.echo(f"Fitted on {fitted.answers} answers to {fitted.cases} cases: artefact {fitted.artefact}")
    for embedder, weights in fitted.weights.items():
        typer.echo(f"  {embedder}: {', '.join(f'{name} {weight:+.2f}' for name, weight in weights.items())}")
    typer.echo(f"\n  --set guard.output.confidence.name=confidence --set guard.output.confidence.fitted={fitted.artefact}")
    for name, figures in fitted.shown.items():
        typer.echo("")
        _show(name, figures)
    if fitted.page:
        typer.echo(f"\nPage: {fitted.page}")


def _show(name: str, figures: "Reliability") -> None:
    typer.echo(f"{name}: {figures.right.count} answers; {figures.verdict}")
    rows: dict[str, Any] = {
        "right": _ends(figures.right),
        "ranking (AUC)": _ends(figures.auc),
        "Brier score": f"{_ends(figures.brier)}; {figures.constant_brier:.3f} for always saying the mean",
        "calibration error": f"{_ends(figures.error)}; {figures.expected_error:.3f} by chance",
        "said − right": _ends(figures.gap),
    }
    for label, value in rows.items():
        typer.echo(f"  {label:<18} {value}")


def _ends(interval: "Interval") -> str:
    if interval.mean is None or interval.low is None or interval.high is None:
        return "–"
    return f"{interval.mean:.3f}  [{interval.low:.3f}, {interval.high:.3f}]"
