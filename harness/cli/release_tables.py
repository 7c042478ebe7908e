"""The difference of two releases in the terminal."""

from rich.table import Table
from rich.text import Text

from harness.cli.output.console import terminal_console
from harness.promotion.diff import ChangedValue, ReleaseDiff
from serving.release.evidence import MeasuredMetric


def print_diff(diff: ReleaseDiff) -> None:
    """Everything that differs, then each metric of either side."""
    console = terminal_console()
    console.print(Text(f"{diff.before} → {diff.after}"))
    for title, changes in (("config", diff.config), ("index", diff.index), ("artefacts", diff.artefacts)):
        _print_changes(title, changes)
    for prompt in diff.prompts:
        console.print(Text(f"\nprompts/{prompt.id}.md"))
        for line in prompt.lines:
            console.print(Text(line, style={"+": "green", "-": "red"}.get(line[:1], "dim")))
    if not (diff.config or diff.index or diff.artefacts or diff.prompts):
        console.print(Text("\nThey hold the same configuration, prompts, index and artefacts."))
    for cases in dict.fromkeys(pair.cases for pair in diff.metrics):
        table = Table(title=f"\n{cases}", title_justify="left", box=None, pad_edge=False)
        for heading in ("metric", diff.before[:8], diff.after[:8]):
            table.add_column(heading, justify="left" if heading == "metric" else "right")
        for pair in diff.metrics:
            if pair.cases == cases:
                table.add_row(Text(pair.metric), _metric_text(pair.before), _metric_text(pair.after))
        console.print(table)


def _print_changes(title: str, changes: tuple[ChangedValue, ...]) -> None:
    if not changes:
        return
    table = Table(title=f"\n{title}", title_justify="left", box=None, pad_edge=False, show_header=False)
    for change in changes:
        table.add_row(Text(change.path), Text(change.before or "–"), Text("→"), Text(change.after or "–"))
    terminal_console().print(table)


def _metric_text(metric: MeasuredMetric | None) -> str:
    if metric is None or metric.mean is None:
        return "–"
    interval = f" [{metric.low:.3f}, {metric.high:.3f}]" if metric.low is not None and metric.high is not None else ""
    return f"{metric.mean:.3f}{interval}"
