"""A judge's agreement with humans, on a terminal."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import typer

from harness.judges.agreement import Agreement
from harness.judges.calibration import Calibration
from harness.stats import Interval

REASONS = 5  # of unscored questions that are told


def show_agreement(found: Agreement, kept: Calibration, saved: Path | None) -> None:
    """Every number, the confusion matrix, and whether this judge may decide."""
    typer.echo(f"{found.task}: {found.judge} (judge {found.judge_id}), {found.n} judged, {len(found.unscored)} unscored")
    typer.echo(f"  accuracy  {_interval(found.accuracy)}")
    typer.echo(f"  kappa     {_interval(found.kappa)}  (Cohen)")
    typer.echo(f"  alpha     {_number(found.alpha)}  (Krippendorff, {found.level})")
    if found.humans:
        humans, among = found.humans, _number(found.humans.alpha)
        typer.echo(f"  humans    {humans.raters} of them on {humans.cases} questions: {humans.same:.3f} of pairs the same, alpha {among}")
    if found.usd is None:
        typer.echo("  cost      unknown: the model has no known price")
    elif found.usd:
        typer.echo(f"  cost      ${found.usd:.4f}{' simulated' if found.simulated else ''}")
    typer.echo("")
    _table([["label", "precision", "recall", "f1", "humans"]] + [
        [one.label, _number(one.precision), _number(one.recall), _number(one.f1), str(one.count)] for one in found.classes
    ])  # fmt: skip
    typer.echo("")
    _table([["humans ↓ judge →", *found.labels]] + [
        [label, *map(str, row)] for label, row in zip(found.labels, found.confusion, strict=True)
    ])  # fmt: skip
    typer.echo("")
    for reason, count in Counter(one.reason for one in found.unscored).most_common(REASONS):
        typer.echo(f"  unscored {count}: {reason}")
    may = f"may not decide: {kept.shortfall}" if kept.shortfall else "may decide"
    typer.echo(f"On {found.task} this judge {may}.{f' Kept: {saved}' if saved else ''}")


def _table(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        first, *rest = [
            cell.ljust(width) if not at else cell.rjust(width) for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        typer.echo("  " + "  ".join([first, *rest]))


def _interval(interval: Interval) -> str:
    if interval.low is None or interval.high is None:
        return _number(interval.mean)
    return f"{_number(interval.mean)}  [{interval.low:.3f}, {interval.high:.3f}]"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
