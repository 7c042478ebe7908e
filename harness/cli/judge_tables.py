"""A judge's agreement with humans, on a terminal."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import typer

from harness.judges.agreement import Agreement
from harness.judges.calibration import Calibration
from harness.stats import Interval
from harness.stats.text import number_text

REASONS = 5  # of unscored questions that are told


def show_agreement(agreement: Agreement, calibration: Calibration, saved: Path | None) -> None:
    """Every number, the confusion matrix, and whether this judge may decide."""
    counts = f"{agreement.n} judged, {len(agreement.unscored)} unscored"
    typer.echo(f"{agreement.task}: {agreement.judge} (judge {agreement.judge_id}), {counts}")
    typer.echo(f"  accuracy  {_interval(agreement.accuracy)}")
    typer.echo(f"  kappa     {_interval(agreement.kappa)}  (Cohen)")
    typer.echo(f"  alpha     {number_text(agreement.alpha)}  (Krippendorff, {agreement.level})")
    if agreement.humans:
        humans = agreement.humans
        same = f"{humans.same:.3f} of pairs the same, alpha {number_text(humans.alpha)}"
        typer.echo(f"  humans    {humans.raters} of them on {humans.cases} questions: {same}")
    if agreement.usd is None:
        typer.echo("  cost      unknown: the model has no known price")
    elif agreement.usd:
        typer.echo(f"  cost      ${agreement.usd:.4f}{' simulated' if agreement.simulated else ''}")
    typer.echo("")
    _table([["label", "precision", "recall", "f1", "humans"]] + [
        [one_class.label, *map(number_text, (one_class.precision, one_class.recall, one_class.f1)), str(one_class.count)]
        for one_class in agreement.classes
    ])  # fmt: skip
    typer.echo("")
    _table([["humans ↓ judge →", *agreement.labels]] + [
        [label, *map(str, row)] for label, row in zip(agreement.labels, agreement.confusion, strict=True)
    ])  # fmt: skip
    typer.echo("")
    for reason, count in Counter(question.reason for question in agreement.unscored).most_common(REASONS):
        typer.echo(f"  unscored {count}: {reason}")
    may = f"may not decide: {calibration.shortfall}" if calibration.shortfall else "may decide"
    typer.echo(f"On {agreement.task} this judge {may}.{f' Kept: {saved}' if saved else ''}")


def _table(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        first, *rest = [
            cell.ljust(width) if not at else cell.rjust(width) for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        typer.echo("  " + "  ".join([first, *rest]))


def _interval(interval: Interval) -> str:
    if interval.low is None or interval.high is None:
        return number_text(interval.mean)
    return f"{number_text(interval.mean)}  [{interval.low:.3f}, {interval.high:.3f}]"
