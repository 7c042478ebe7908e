"""Pruning: a trial that is surely worse than another on the same cases is given up."""

from collections.abc import Sequence
from dataclasses import dataclass

from harness.results.report import EvalReport
from harness.stats.sequential import surely_worse
from harness.sweep.experiment import Pruning


@dataclass(frozen=True, slots=True)
class Reference:
    """The finished trial that others are compared with, and how many trials it was the best of."""

    report: EvalReport
    name: str
    chosen_from: int = 1
    others: tuple[EvalReport, ...] = ()  # of trials that completed: what a race forecasts by


@dataclass(frozen=True, slots=True)
class Pruner:
    """Holds what a trial has scored so far against a finished one, case by case in the fixed order."""

    rules: Pruning
    metric: str
    higher_is_better: bool

    def reason(self, parts: Sequence[EvalReport], reference: Reference | None) -> str:
        """Why a trial should be given up now; empty while it should go on.

        The best of m owes part of its mean to luck on these very cases. At alpha / m an equal trial is still dropped with a
        chance of at most alpha: to be surely worse than the best of m is to be surely worse than one of the m.
        """
        if self.rules.name == "none" or reference is None:
            return ""
        known = {row.case.id: row.value(self.metric) for row in reference.report.rows}
        pairs = [(row.value(self.metric), known.get(row.case.id)) for part in parts for row in part.rows]
        differences = [mine - theirs for mine, theirs in pairs if mine is not None and theirs is not None]
        if len(differences) < self.rules.startup:
            return ""
        signed = differences if self.higher_is_better else [-difference for difference in differences]
        if not surely_worse(signed, self.rules.alpha / reference.chosen_from):
            return ""
        mean = sum(differences) / len(differences)
        return f"{self.metric} {mean:+.3f} against {reference.name} on the first {len(differences)} cases: surely worse"
