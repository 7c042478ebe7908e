"""A comparison on a terminal."""

from harness.cli.output.console import terminal_console
from harness.cli.output.tables import terminal_table
from harness.comparison.values import ReportComparison
from harness.reports.comparison import cost_difference_text, cost_text, detectable_text
from harness.stats.text import DETECTABLE, difference_text, number_text, p_value_text

MAX_LINES = 10  # lines of what may be long


def show_comparison(comparison: ReportComparison, labels: tuple[str, str]) -> None:
    """The verdict, every metric, what it costs, what moved, and what was changed."""
    console, head = terminal_console(), comparison.after.header
    console.print(f"A  {labels[0]}\nB  {labels[1]}\n{head.golden} {head.split}, {comparison.cases} cases")
    for note in comparison.notes:
        console.print(f"note: {note}")
    table = terminal_table("metric", "A", "B", "B − A, interval", "p", "verdict", "detectable", "cases")
    for difference in comparison.metrics:
        paired = difference.comparison
        cells = (
            number_text(difference.before.mean),
            number_text(difference.after.mean),
            difference_text(paired),
            p_value_text(paired.p_value),
            paired.outcome,
        )
        cases = f"{paired.count}" + (f" (+{difference.unpaired})" if difference.unpaired else "")
        table.add_row(difference.metric, *cells, detectable_text(paired), cases)
    console.print(table)
    console.print(comparison.explanation)
    console.print(f"detectable: {DETECTABLE}")
    if any(difference.unpaired for difference in comparison.metrics):
        console.print("(+n): cases that only one of them scored; they do not count")
    table = terminal_table("per query", "A", "B", "B − A, 95 % interval")
    for cost in comparison.costs:
        name = f"{cost.name} (simulated)" if cost.unit.startswith("simulated") else cost.name
        table.add_row(name, cost_text(cost.before, cost.unit), cost_text(cost.after, cost.unit), cost_difference_text(cost))
    console.print(table)
    moved = [part for part in comparison.slices if part.moved]
    for part in moved[:MAX_LINES]:
        console.print(f"  {part.by} {part.name}: {part.metric} {difference_text(part.comparison)}, {part.comparison.outcome}")
    if not moved:
        console.print(f"no slice moved by more than chance allows ({len(comparison.slices)} looked at, corrected for all)")
    mixed = len(comparison.flipped("mixed"))
    console.print(
        f"cases that flipped: {len(comparison.flipped('gained'))} gained by B, {len(comparison.flipped('lost'))} lost"
        + (f", {mixed} by one metric gained and by another lost" if mixed else "")
    )
    for change in comparison.changes[:MAX_LINES]:
        console.print(f"  {change.path}: {_value_cell(change.before)} → {_value_cell(change.after)}")
    if len(comparison.changes) > MAX_LINES:
        console.print(f"  and {len(comparison.changes) - MAX_LINES} more fields of the configuration")
    console.print(comparison.verdict)


def _value_cell(value: object) -> str:
    return "–" if value is None else str(value)
