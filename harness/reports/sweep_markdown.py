"""The report of a sweep as Markdown: for a pull request, a terminal, a search."""

from collections.abc import Sequence

from harness.reports.findings import SweepFindings, state_of, value_of, why_of
from harness.reports.page import kind_rows, markdown_table, one_line, score_rows
from harness.reports.text import change_rows, incumbent_text, share_text, time_text, title_of, usd_text, verdict_text
from harness.results.times import timing_text
from harness.stats.text import difference_text, number_text, p_value_text
from harness.sweep.verdict import SweepResult


def markdown(findings: SweepFindings, commands: Sequence[str]) -> list[str]:
    """Verdict, incumbent against rival, finalists, front, knobs, trials, cost, how to do it again."""
    lines = [
        f"# {title_of(findings)}: {findings.result.verdict if findings.result else 'not finished'}",
        "",
        f"**{one_line(verdict_text(findings))}**",
        "",
    ]
    if findings.result:
        lines += [one_line(findings.result.reason)]
        lines += ["", f"The search ended early: {one_line(findings.result.ended)}."] if findings.result.ended else []
    changes = change_rows(findings)
    if changes:
        head = ["changed", "incumbent" if findings.result else "base", "rival" if findings.result else "best so far"]
        lines += ["", *markdown_table(head, [[f"`{path}`", str(before), str(after)] for path, before, after in changes])]
    if findings.result:
        lines += [*_against(findings, findings.result), *_finalists(findings, findings.result)]
    return [
        *lines,
        *_front(findings),
        *_knobs(findings),
        *_trials(findings),
        *_scores(findings),
        *_cost(findings),
        *_reproduce(findings, commands),
    ]


def _against(findings: SweepFindings, result: SweepResult) -> list[str]:
    if findings.rival is None:
        return []
    incumbent, rival = result.incumbent.trial.name, findings.rival.trial.name
    rows = [
        [
            difference.metric,
            number_text(difference.before.mean),
            number_text(difference.after.mean),
            difference_text(difference.comparison),
            p_value_text(difference.comparison.p_value),
            difference.outcome,
        ]
        for difference in findings.differences
    ]
    head = [
        "metric",
        incumbent,
        f"trial {rival}" if not findings.rival.trial.label else rival,
        "difference, interval",
        "p",
        "verdict",
    ]
    return ["", "## On the holdout", "", *markdown_table(head, rows)]


def _finalists(findings: SweepFindings, result: SweepResult) -> list[str]:
    head = [
        "trial",
        f"{findings.goal} tune",
        f"{findings.goal} holdout",
        "gap",
        f"against {result.incumbent.trial.name}",
        "p",
        "verdict",
        "$/query",
        f"time, {result.incumbent.trial.name} = 1",
    ]
    rows = []
    for finalist in result.finalists:
        against, mean = finalist.against, finalist.holdout.mean(findings.goal)
        cells = [
            finalist.trial.name,
            number_text(finalist.trial.objective),
            number_text(mean),
            "–" if mean is None or finalist.trial.objective is None else f"{mean - finalist.trial.objective:+.3f}",
            difference_text(against) if against else "",
            p_value_text(against.p_value) if against else "",
            against.outcome if against else "",
            number_text(finalist.holdout.costs.get("usd"), 6),
            "" if finalist is result.incumbent else timing_text(finalist.timing),
        ]
        rows.append([f"**{cell}**" if finalist is result.winner and cell else cell for cell in cells])
    experiment = findings.experiment
    note = (
        "The tune means are the best of many and so look better than they are; believe the holdout. Equivalent: the interval, corrected "
        f"for all finalists, lies inside ±{experiment.margin:g}; undecided: these cases cannot tell. One that is not better wins only if "
        f"it is cheaper by {experiment.cheaper_by:.0%} (or measured to be as much faster) and a loss of the margin is ruled out."
    )
    return ["", "## Finalists", "", *markdown_table(head, rows), "", note]


def _front(findings: SweepFindings) -> list[str]:
    if not findings.front:
        return []
    names = findings.front_names
    columns = [*names, *(name for name in ("cost.usd", "cost.input_tokens") if name not in names)]
    rows = [
        [trial.name, *(number_text(value_of(trial, name), 6 if name == "cost.usd" else 3) for name in columns)] for trial in findings.front
    ]
    return ["", f"## Front on the tune split: not beaten in {' and '.join(names)}", "", *markdown_table(["trial", *columns], rows)]


def _knobs(findings: SweepFindings) -> list[str]:
    if not findings.importances:
        return []
    rows = [
        [f"`{importance.path}`", f"{importance.share:.0%}", f"{importance.chance:.0%}", "yes" if importance.beyond_chance else "no"]
        for importance in findings.importances
    ]
    return ["", "## Which knobs mattered", "", *markdown_table(["knob", "importance", "chance stays below", "more than chance"], rows)]


def _trials(findings: SweepFindings) -> list[str]:
    count = ", ".join(f"{count} {state}" for state, count in findings.states.items())
    rows = [[trial.name, trial.score_text(findings.cases), state_of(trial), why_of(trial)] for trial in findings.unfinished]
    lines = ["", "## Trials", "", f"{len(findings.trials)} trials: {count or 'none'}."]
    return lines + (["", *markdown_table(["trial", findings.goal, "state", "why"], rows)] if rows else [])


def _scores(findings: SweepFindings) -> list[str]:
    if findings.result is None:
        return []
    report = findings.result.winner.holdout
    return [
        "",
        f"## The {'incumbent' if findings.result.winner is findings.result.incumbent else 'winner'}'s scores on the holdout",
        *score_rows(report),
        *kind_rows(report, findings.slice_metrics),
    ]


def _cost(findings: SweepFindings) -> list[str]:
    hits, reads = findings.store_reads
    input_tokens, output_tokens = findings.tokens
    lines = [
        "",
        "## Cost and time",
        "",
        f"- tokens: {input_tokens:,} in, {output_tokens:,} out, answers kept from before counted as if asked again",
    ]
    if findings.result:
        money = " (simulated: the price of the hosted model that a local reader stands in for)" if findings.simulated else ""
        prices = f", by {findings.prices}" if findings.prices else ""
        lines.append(f"- spent: {usd_text(findings.result.spent_usd)}{money}{prices}")
        lines.append(
            f"- time: {time_text(findings.result.seconds)}; kept from before: {share_text(hits, reads)} of {reads:,} stage outputs"
        )
    return lines


def _reproduce(findings: SweepFindings, commands: Sequence[str]) -> list[str]:
    if not findings.trials:
        return []
    head, experiment = findings.trials[0].report.header, findings.experiment
    return [
        "",
        "## Do it again",
        "",
        *(f"    {command}" for command in commands),
        "",
        one_line(incumbent_text(findings)),
        one_line(
            f"Experiment {experiment.digest}, seed {experiment.seed}, {head.golden} {head.golden_digest}, corpus {head.corpus_digest}."
        ),
    ]
