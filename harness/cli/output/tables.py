"""Tables on a terminal."""

from collections import Counter

import typer
from rich import box
from rich.table import Table

from harness.cli.output.console import terminal_console
from harness.golden.case import Case
from harness.reports.findings import state_of
from harness.reports.page import interval_text, objective_first
from harness.results.report import EvalReport, first_error
from harness.results.times import times_text, timing_text
from harness.stage_store.base import reused_share
from harness.stats.text import difference_text, number_text, p_value_text
from harness.sweep.verdict import SweepResult

HEADLINES = ("quality", "recall@5")  # shown by kind of question; without them, the first two metrics


def show_evaluation(report: EvalReport) -> None:
    """Every metric with interval and coverage, then the objective by kind of question."""
    console, count = terminal_console(), len(report.rows)
    head = report.header
    console.print(
        f"{head.golden} {head.split}: {count} cases, {len(report.errors)} errors, config {head.config_digest}, {head.seconds:.1f} s"
    )
    table = terminal_table("metric", "mean", "95 % interval", "scored")
    for name, interval in objective_first(report).items():
        table.add_row(name, number_text(interval.mean), interval_text(interval), f"{interval.count}/{count}")
    console.print(table)
    columns = [name for name in HEADLINES if name in report.summary] or list(report.summary)[:2]
    slices = [report.slices("kind", name) for name in columns]
    table = terminal_table("kind", *columns, "cases")
    for kind, case_count in sorted(Counter(row.case.kind for row in report.rows).items()):
        table.add_row(kind, *(number_text(slice_intervals[kind].mean) for slice_intervals in slices), str(case_count))
    console.print(table)
    for reason, names in _unscored(report).items():
        console.print(f"not scored: {', '.join(names)}: {reason}")
    if report.errors:
        console.print(f"{len(report.errors)} of {count} cases have no answer: {first_error(report)}")
    if report.costs:
        money = " simulated" if report.simulated else ""
        costs = report.costs
        console.print(
            f"per query: ${number_text(costs['usd'], 6)}{money}, {costs['input_tokens']:.0f} + {costs['output_tokens']:.0f} tokens, "
            f"{''.join(f'{share:.0%} to {tier}, ' for tier, share in report.tier_shares.items())}"
            f"{times_text(report)}"
        )


def _unscored(report: EvalReport) -> dict[str, list[str]]:
    """The metrics that scored no case that was answered, by the reason of the first."""
    found: dict[str, list[str]] = {}
    for row in [row for row in report.rows if row.trace][:1]:
        for score in row.scores:
            if not report.summary[score.metric].count:
                found.setdefault(" ".join(score.reason.split()), []).append(score.metric)
    return found


def show_sweep(result: SweepResult) -> None:
    """The trials and their cost, the finalists on the holdout, the winner with the reason, and its changes."""
    console, name = terminal_console(), result.experiment.goal
    console.print(_trials_and_cost(result))
    table = terminal_table("trial", "tune", "holdout", "95 % interval", f"against {result.incumbent.trial.name}", "p", "verdict", "$/query")
    for finalist in result.finalists:
        against, interval = finalist.against, finalist.holdout.summary[name]
        table.add_row(
            ("▸ " if finalist is result.winner else "  ") + finalist.trial.name,
            f"{finalist.trial.objective:.3f}",
            number_text(interval.mean),
            interval_text(interval),
            difference_text(against) if against else "",
            p_value_text(against.p_value) if against else "",
            against.outcome if against else "",
            number_text(finalist.holdout.costs.get("usd"), 6),
        )
    margin = result.experiment.margin
    console.print(
        f"{name} on the holdout, {len(result.winner.holdout.rows)} cases, margin ±{margin:g}; the tune means are the best of many"
    )
    console.print(table)
    console.print(_finalists_times(result))
    console.print(result.reason)
    before, after = result.incumbent.trial.config.flat(), result.winner.trial.config.flat()
    for path in sorted(before.keys() | after.keys()):
        if before.get(path) != after.get(path):
            console.print(f"  {path}: {before.get(path, '–')} → {after.get(path, '–')}")


def _finalists_times(result: SweepResult) -> str:
    """How long the finalists take beside the incumbent, where that was measured."""
    timed = [finalist for finalist in result.finalists if finalist.timing]
    if not timed:
        return "time: not measured, and so it decides nothing"
    count = max(finalist.timing.count for finalist in timed if finalist.timing)
    texts = [f"{finalist.trial.title} {timing_text(finalist.timing)}" for finalist in timed]
    return f"time, the {result.incumbent.trial.name}'s being 1, measured on {count} cases: {'; '.join(texts)}"


def _trials_and_cost(result: SweepResult) -> str:
    """How the trials ended and what they cost, in a line."""
    states = Counter(state_of(trial) for trial in result.trials)
    parts = [f"{len(result.trials)} trials: " + ", ".join(f"{count} {state}" for state, count in states.items())]
    share = reused_share(result.counts)
    parts += [f"{share.reused / share.needed:.0%} of stage outputs kept from before"] if share.needed else []
    parts.append(f"${result.spent_usd:.4f}{' simulated' if result.winner.holdout.simulated else ''}, {result.seconds:.0f} s")
    return "; ".join([*parts, *([f"ended early: {result.ended}"] if result.ended else [])])


def show_case(case: Case) -> None:
    """One golden case."""
    head = f"{case.id}  {case.domain} · {case.kind} · {case.difficulty}{'' if case.answerable else ' · unanswerable'}"
    before = [f"  > {turn.question}" for turn in case.history]
    lines = [head, *before, f"  {case.question}", *(f"  = {answer}" for answer in case.answers)]
    lines += [f"  · {evidence.document}[{evidence.start}:{evidence.end}] {evidence.quote!r}" for evidence in case.evidence]
    for name, grade in zip(case.relevant_ids, case.grades or (1,) * len(case.relevant_ids), strict=True):
        lines.append(f"  · {name}{f' (grade {grade})' if case.grades else ''}")
    if case.key_facts:
        lines.append(f"  facts: {' | '.join(case.key_facts)}")
    for line in lines:
        typer.echo(line)


def terminal_table(*columns: str) -> Table:
    """A table whose first column is left-aligned, the others right-aligned; what has no room goes on in the next line."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 else "right", overflow="fold")
    return table
