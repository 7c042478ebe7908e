"""A sweep's findings as text."""

from typing import Any

from harness.reports.findings import SweepFindings

Change = tuple[str, Any, Any]  # a path, the value in the incumbent, the value in the winner


def title_of(findings: SweepFindings) -> str:
    """The page's title."""
    return f"Sweep {findings.experiment.name}"


def verdict_text(findings: SweepFindings) -> str:
    """The verdict in one sentence."""
    if findings.result is None:
        best = findings.best
        best_so_far = f" Best so far on the tune split: trial {best.name}, {findings.goal} {best.objective:.3f}." if best else ""
        finished = f"{len(findings.trials)} of {findings.experiment.trials} trials are finished"
        return f"No verdict yet: {finished}, and nothing was proven.{best_so_far}"
    winner = findings.result.winner.trial
    if findings.result.winner is findings.result.incumbent:
        return f"The {winner.name} stays."
    return f"The {winner.label} wins." if winner.label else f"Trial {winner.name} wins."


def incumbent_text(findings: SweepFindings) -> str:
    """What had to be beaten, and where it is kept."""
    if findings.champion is None:  # before the verdict it may only not have been tried yet
        text = "What had to be beaten was the experiment's base: no other configuration was recorded as champion."
        return text if findings.result else ""
    champion = f"the champion recorded when the sweep was begun, configuration {findings.champion.report.header.config_digest}"
    return f"What had to be beaten was {champion}, kept in champion.yaml; a new sweep has to beat the champion recorded by then."


def change_rows(findings: SweepFindings) -> list[Change]:
    """What is different in the rival (or the best so far), by the space's paths."""
    rival = findings.rival.trial if findings.rival else findings.best
    incumbent = findings.result.incumbent.trial if findings.result else next((trial for trial in findings.trials if trial.label), None)
    if rival is None or incumbent is None:
        return []
    before, after = incumbent.config.flat(), rival.config.flat()
    return [
        (path, before.get(path), after.get(path)) for path in sorted(before.keys() | after.keys()) if before.get(path) != after.get(path)
    ]


def usd_text(value: float | None) -> str:
    """Dollars: a fraction of a cent is not nothing."""
    if value is None:
        return "unknown"
    if value == 0 or value >= 1:
        return f"${value:,.2f}"
    return f"${value:.6f}" if value < 0.01 else f"${value:.4f}"


def time_text(seconds: float) -> str:
    """A duration."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def share_text(part: int, whole: int) -> str:
    """A share, or a dash of nothing."""
    return f"{part / whole:.0%}" if whole else "–"
