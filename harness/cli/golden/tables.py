"""What `touchstone golden check|diff|split` say on a terminal."""

from collections.abc import Sequence

import typer

from harness.golden.check import Balance, DetectableDifference, SetFindings, cases_for_five_points, split_sizes
from harness.golden.diff import SetDiff, short_json
from harness.golden.lines import MAX_PROBLEMS
from harness.golden.sets import GoldenSet
from harness.golden.split import SplitMoves


def show_findings(golden: GoldenSet, findings: SetFindings, slices: Sequence[Balance], differences: Sequence[DetectableDifference]) -> None:
    """Sizes, balance, what difference can be seen, and the warnings."""
    typer.echo(f"{golden.id}: {len(golden.cases)} cases, digest {golden.digest}")
    show_balance(slices)
    for difference in differences:
        rate = "too few to see any difference of a rate"
        if difference.detectable is not None:
            rate = f"a rate must differ by {difference.detectable * 100:.0f} points to be seen"
        typer.echo(f"  {difference.split}: {difference.cases} cases, {rate}")
    typer.echo(
        f"    (seen: four times in five, at 5 %. The worst case: half are right, and two configurations are right independently;\n"
        f"    those that mostly agree need less. In the worst case {cases_for_five_points()} cases show 5 points.)"
    )
    for warning in findings.warnings[:MAX_PROBLEMS]:
        typer.echo(f"warning: {warning}")
    if len(findings.warnings) > MAX_PROBLEMS:
        typer.echo(f"… and {len(findings.warnings) - MAX_PROBLEMS} more warnings; all of them: --json")


def show_balance(slices: Sequence[Balance]) -> None:
    """For each kind and domain, the cases of each split."""
    for field in dict.fromkeys(entry.field for entry in slices):
        rows = [entry for entry in slices if entry.field == field]
        typer.echo(f"  {field} (tune + holdout): " + ", ".join(f"{entry.value} {entry.tune}+{entry.holdout}" for entry in rows))


def show_split(golden: GoldenSet, slices: Sequence[Balance], moved: SplitMoves) -> None:
    """How the cases fall, and which change sides."""
    sizes = split_sizes(golden)
    card = golden.card
    typer.echo(f"{golden.id}: {sizes['tune']} tune, {sizes['holdout']} holdout; salt {card.salt!r}, holdout share {card.holdout_share:g}")
    show_balance(slices)
    if moved.to_holdout or moved.to_tune:
        typer.echo(f"  moved: {len(moved.to_holdout)} from tune to holdout, {len(moved.to_tune)} from holdout to tune")
    if moved.to_holdout:
        typer.echo("  The new holdout holds cases that searches may have seen: it proves nothing of what was tuned on the old version.")


def show_diff(difference: SetDiff) -> None:
    """The leaks first, then every case that differs."""
    if difference.to_holdout:
        typer.echo(f"LEAK: {len(difference.to_holdout)} cases moved from tune to holdout: {_listed(difference.to_holdout)}")
        typer.echo(f"  The holdout of {difference.after} proves nothing of what was tuned on {difference.before}.")
    if difference.to_tune:
        typer.echo(f"LEAK: {len(difference.to_tune)} cases moved from holdout to tune: {_listed(difference.to_tune)}")
        typer.echo(f"  What is tuned on {difference.after} must not be proven on the holdout of {difference.before}.")
    counts = (
        f"{len(difference.added)} added, {len(difference.removed)} removed, {len(difference.changed)} changed, {difference.same} the same"
    )
    typer.echo(f"{difference.before} → {difference.after}: {counts}")
    for change in difference.card:
        typer.echo(f"  card: {change.field}: {short_json(change.before)} → {short_json(change.after)}")
    for case in difference.added:
        typer.echo(f"+ {case.id}  {short_json(case.question)}")
    for case in difference.removed:
        typer.echo(f"- {case.id}  {short_json(case.question)}")
    for changed in difference.changed:
        typer.echo(f"~ {changed.id}{f' (was {changed.was})' if changed.was else ''}")
        for change in changed.changes:
            typer.echo(f"    {change.field}: {short_json(change.before)} → {short_json(change.after)}")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:MAX_PROBLEMS]) + (f" … and {len(names) - MAX_PROBLEMS} more" if len(names) > MAX_PROBLEMS else "")
