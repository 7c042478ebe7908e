"""The winner: the finalist that is better on the holdout, or one that is leaner and not worse; else the incumbent."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from harness.comparison.pairs import compare_metric
from harness.results.display import Display
from harness.stats import MARGIN
from harness.stats.text import number_text
from harness.sweep.experiment import Experiment
from harness.sweep.finalist import Finalist, combined_outcome, saves, usd_of
from harness.sweep.frame import trials_frame
from harness.sweep.reason import reason_of
from harness.sweep.trial import Trial, at_fault

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class Winner:
    """Who wins, and why in words."""

    winner: Finalist
    reason: str


@dataclass(frozen=True, slots=True)
class SweepResult:
    """What a sweep found."""

    experiment: Experiment
    trials: tuple[Trial, ...]
    finalists: tuple[Finalist, ...]  # the incumbent first: the champion where one is recorded, else the base
    winner: Finalist
    reason: str
    run_id: str
    run_url: str
    ended: str = ""  # why the search stopped before its last trial
    spent_usd: float = 0.0
    seconds: float = 0.0
    counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)  # what the stage store had, by stage

    @property
    def incumbent(self) -> Finalist:
        """What had to be beaten."""
        return self.finalists[0]

    @property
    def verdict(self) -> str:
        """What the winner is to the incumbent; where the incumbent stays, the most that may be said of its challengers."""
        if self.winner.against:
            return self.winner.against.outcome
        return combined_outcome(self.finalists[1:])

    def trials_dataframe(self) -> "pd.DataFrame":
        """A row a trial, in Optuna's manner."""
        return trials_frame(self.experiment, self.trials)

    @property
    def display(self) -> Display:
        """Who wins and why, and every finalist."""
        goal = self.experiment.goal
        rows = [
            (
                one.trial.name,
                number_text(one.trial.objective),
                number_text(one.holdout.mean(goal)),
                one.against.outcome if one.against else "",
            )
            for one in self.finalists
        ]
        word = "stays" if self.winner is self.incumbent else "wins"
        title = f"SweepResult of {self.experiment.name}: {self.winner.trial.title} {word}, of {len(self.trials)} trials"
        return Display(
            title, ("trial", f"{goal}, tune", "holdout", f"against the {self.incumbent.trial.name}"), rows, (self.reason, self.ended)
        )

    def __repr__(self) -> str:
        return self.display.text

    def _repr_html_(self) -> str:
        return self.display.html


def choose(finalists: Sequence[Finalist], metric: str, *, margin: float = MARGIN, cheaper_by: float = 0.1) -> Winner:
    """The finalist that is better than the incumbent; else one that costs less and loses nothing that matters; else the incumbent.

    Finalists come with their comparison with the incumbent, corrected for all of them. Not seen to differ is not equal: a cheaper or
    faster one replaces the incumbent only if a loss beyond the margin is ruled out, to the incumbent and to the best finalist.
    """
    incumbent = finalists[0]
    usable = [one for one in finalists[1:] if one.against and not at_fault(one.holdout, incumbent.holdout)]

    def merit(finalist: Finalist) -> float:
        return finalist.against.gain if finalist.against else 0.0

    ranked = sorted(usable, key=lambda one: (-merit(one), one.trial.number))
    better = [one for one in ranked if one.against and one.against.outcome == "better"]
    best = next(iter(better or ranked), None)

    def keeps_up(finalist: Finalist) -> bool:
        """Whether a loss beyond the margin to the best finalist is ruled out."""
        if best is None or finalist is best:
            return True
        return compare_metric(best.holdout, finalist.holdout, metric, margin=margin, among=len(finalists) - 1).non_inferior

    rivals, held = (better, best) if better and best else (ranked, incumbent)
    saving = [
        one
        for one in rivals
        if one is not held and saves(one, held, cheaper_by) and one.against and (better or one.against.non_inferior) and keeps_up(one)
    ]
    leaner = min(saving, key=lambda one: (usd_of(one), one.timing.high if one.timing else math.inf, -merit(one)), default=None)
    winner = leaner or (best if better and best else incumbent)
    return Winner(
        winner, reason_of(winner, best, incumbent, usable, metric, margin=margin, cheaper_by=cheaper_by, proposed=len(finalists) - 1)
    )
