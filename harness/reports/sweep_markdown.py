"""The report of a sweep as Markdown: for a pull request, a terminal, a search."""

from collections.abc import Sequence

from harness.reports.found import SweepFindings, state_of, value_of, why_of
from harness.reports.page import kind_rows, markdown_table, number, one_line, score_rows
from harness.reports.words import change_rows, incumbent_words, share_words, time_words, title_of, usd_words, verdict_words
from harness.stats.words import difference_words, p_words
from harness.sweep.verdict import SweepResult


def markdown(found: SweepFindings, commands: Sequence[str]) -> list[str]:
    """Verdict, incumbent against rival, finalists, front, knobs, trials, cost, how to do it again."""
    lines = [
        f"# {title_of(found)}: {found.result.verdict if found.result else 'not finished'}",
        "",
        f"**{one_line(verdict_words(found))}**",
        "",
    ]
    if found.result:
        lines += [one_line(found.result.reason)]
        lines += ["", f"The search ended early: {one_line(found.result.ended)}."] if found.result.ended else []
    changes = change_rows(found)
    if changes:
        head = ["changed", "incumbent" if found.result else "base", "rival" if found.result else "best so far"]
        lines += ["", *markdown_table(head, [[f"`{path}`", str(before), str(after)] for path, before, after in changes])]
    if found.result:
        lines += [*_against(found, found.result), *_finalists(found, found.result)]
    return [*lines, *_front(found), *_knobs(found), *_trials(found), *_scores(found), *_cost(found), *_again(found, commands)]


def _against(found: SweepFindings, result: SweepResult) -> list[str]:
    if found.rival is None:
        return []
    first, other = result.incumbent.tried.name, found.rival.tried.name
    rows = [
        [
            one.metric,
            number(one.before.mean),
            number(one.after.mean),
            difference_words(one.comparison),
            p_words(one.comparison.p_value),
            one.outcome,
        ]
        for one in found.differences
    ]
    head = ["metric", first, f"trial {other}" if not found.rival.tried.label else other, "difference, 95 % interval", "p (Holm)", "verdict"]
    return ["", "## On the holdout", "", *markdown_table(head, rows)]


def _finalists(found: SweepFindings, result: SweepResult) -> list[str]:
    head = [
        "trial",
        f"{found.goal} tune",
        f"{found.goal} holdout",
        "gap",
        f"against {result.incumbent.tried.name}",
        "p (Holm)",
        "verdict",
        "$/query",
    ]
    rows = []
    for one in result.finalists:
        held, mean = one.against, one.holdout.mean(found.goal)
        cells = [
            one.tried.name,
            number(one.tried.objective),
            number(mean),
            "–" if mean is None or one.tried.objective is None else f"{mean - one.tried.objective:+.3f}",
            difference_words(held) if held else "",
            p_words(held.p_value) if held else "",
            held.outcome if held else "",
            number(one.holdout.costs.get("usd"), 6),
        ]
        rows.append([f"**{cell}**" if one is result.winner and cell else cell for cell in cells])
    note = "The tune means are the best of many and so look better than they are; believe the holdout."
    return ["", "## Finalists", "", *markdown_table(head, rows), "", note]


def _front(found: SweepFindings) -> list[str]:
    if not found.front:
        return []
    names = found.front_names
    shown = [*names, *(name for name in ("cost.usd", "ms.total.p95") if name not in names)]
    rows = [[one.name, *(number(value_of(one, name), 6 if name == "cost.usd" else 3) for name in shown)] for one in found.front]
    return ["", f"## Front on the tune split: not beaten in {' and '.join(names)}", "", *markdown_table(["trial", *shown], rows)]


def _knobs(found: SweepFindings) -> list[str]:
    if not found.importances:
        return []
    rows = [[f"`{one.path}`", f"{one.share:.0%}", f"{one.chance:.0%}", "yes" if one.told else "no"] for one in found.importances]
    return ["", "## Which knobs mattered", "", *markdown_table(["knob", "importance", "chance stays below", "more than chance"], rows)]


def _trials(found: SweepFindings) -> list[str]:
    count = ", ".join(f"{count} {state}" for state, count in found.states.items())
    rows = [[one.name, number(one.objective), state_of(one), str(len(one.report.rows)), why_of(one)] for one in found.unfinished]
    lines = ["", "## Trials", "", f"{len(found.trials)} trials: {count or 'none'}."]
    return lines + (["", *markdown_table(["trial", found.goal, "state", "cases", "why"], rows)] if rows else [])


def _scores(found: SweepFindings) -> list[str]:
    if found.result is None:
        return []
    report = found.result.winner.holdout
    return [
        "",
        f"## The {'incumbent' if found.result.winner is found.result.incumbent else 'winner'}'s scores on the holdout",
        *score_rows(report),
        *kind_rows(report, found.slice_metrics),
    ]


def _cost(found: SweepFindings) -> list[str]:
    hits, asked = found.kept
    into, out = found.tokens
    lines = ["", "## Cost and time", "", f"- tokens: {into:,} in, {out:,} out, answers kept from before counted as if asked again"]
    if found.result:
        money = " (simulated: the price of the hosted model that a local reader stands in for)" if found.simulated else ""
        lines.append(f"- spent: {usd_words(found.result.spent_usd)}{money}")
        lines.append(f"- time: {time_words(found.result.seconds)}; kept from before: {share_words(hits, asked)} of {asked:,} stage outputs")
    return lines


def _again(found: SweepFindings, commands: Sequence[str]) -> list[str]:
    if not found.trials:
        return []
    head, experiment = found.trials[0].report.header, found.experiment
    return [
        "",
        "## Do it again",
        "",
        *(f"    {command}" for command in commands),
        "",
        one_line(incumbent_words(found)),
        one_line(
            f"Experiment {experiment.digest}, seed {experiment.seed}, {head.golden} {head.golden_digest}, corpus {head.corpus_digest}."
        ),
    ]
