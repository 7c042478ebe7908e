"""A comparison on a terminal."""

from harness.cli.tables import _console, _table
from harness.comparison.values import ReportComparison
from harness.reports.comparison import detectable_text, value_text
from harness.stats.text import difference_text, number_text, p_value_text

SHOWN = 10  # lines of what may be long


def show_comparison(found: ReportComparison, labels: tuple[str, str]) -> None:
    """The verdict, every metric, what it costs, what moved, and what was changed."""
    console, head = _console(), found.after.header
    console.print(f"A  {labels[0]}\nB  {labels[1]}\n{head.golden} {head.split}, {found.cases} cases", markup=False)
    for note in found.notes:
        console.print(f"note: {note}", markup=False)
    table = _table("metric", "A", "B", "B − A, 95 % interval", "p (Holm)", "verdict", "detectable", "cases")
    for one in found.metrics:
        held = one.comparison
        cells = (number_text(one.before.mean), number_text(one.after.mean), difference_text(held), p_value_text(held.p_value), held.outcome)
        cases = f"{held.count}" + (f" (+{one.unpaired})" if one.unpaired else "")
        table.add_row(one.metric, *cells, detectable_text(held), cases)
    console.print(table)
    if any(one.unpaired for one in found.metrics):
        console.print("(+n): cases that only one of them scored; they do not count")
    table = _table("per query", "A", "B", "B − A, 95 % interval")
    for spent in found.costs:
        digits = 6 if "$" in spent.unit else 1
        apart = difference_text(spent.comparison, digits) if spent.comparison else ""
        name = f"{spent.name} (simulated)" if spent.unit.startswith("simulated") else spent.name
        table.add_row(name, value_text(spent.before, spent.unit), value_text(spent.after, spent.unit), apart)
    console.print(table)
    moved = [one for one in found.slices if one.comparison.outcome != "tie"]
    for part in moved[:SHOWN]:
        console.print(f"  {part.by} {part.name}: {part.metric} {difference_text(part.comparison)}, {part.comparison.outcome}", markup=False)
    if not moved:
        console.print(f"no slice moved by more than chance allows ({len(found.slices)} looked at, Holm)")
    mixed = len(found.flipped("mixed"))
    console.print(
        f"cases that flipped: {len(found.flipped('gained'))} gained by B, {len(found.flipped('lost'))} lost"
        + (f", {mixed} by one metric gained and by another lost" if mixed else "")
    )
    for change in found.changes[:SHOWN]:
        console.print(f"  {change.path}: {_shown(change.before)} → {_shown(change.after)}", markup=False)
    if len(found.changes) > SHOWN:
        console.print(f"  and {len(found.changes) - SHOWN} more fields of the configuration")
    console.print(found.verdict, markup=False)


def _shown(value: object) -> str:
    return "–" if value is None else str(value)
