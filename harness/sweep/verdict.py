"""The winner: the best on the holdout, and among statistical ties the cheapest, then the fastest."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from harness.comparison.pairs import compare_metric
from harness.results.display import Display
from harness.results.report import EvalReport
from harness.results.timing import TimingComparison
from harness.stats import Comparison, holm
from harness.stats.text import number_text, p_value_text
from harness.sweep.experiment import Experiment
from harness.sweep.frame import trials_frame
from harness.sweep.trial import Trial, at_fault

if TYPE_CHECKING:
    import pandas as pd

SAME_PRICE = 0.02  # relative differences up to which two cost the same,
SAME_TIME = 0.2  # and are as fast: clocks are noisy


@dataclass(frozen=True, slots=True)
class Finalist:
    """A trial scored again on the holdout, and its paired comparison with the incumbent on the same cases."""

    trial: Trial
    holdout: EvalReport
    against: Comparison | None  # None: it is the incumbent itself
    timing: TimingComparison | None = None  # against the incumbent; None: not measured, so time decides nothing


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
        """What the winner is to the incumbent: better, tie, or the incumbent itself."""
        return self.winner.against.outcome if self.winner.against else self.incumbent.trial.name

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
        title = f"SweepResult of {self.experiment.name}: {self.winner.trial.title} wins, of {len(self.trials)} trials"
        return Display(
            title, ("trial", f"{goal}, tune", "holdout", f"against the {self.incumbent.trial.name}"), rows, (self.reason, self.ended)
        )

    def __repr__(self) -> str:
        return self.display.text

    def _repr_html_(self) -> str:
        return self.display.html


def choose(finalists: Sequence[Finalist], metric: str) -> Winner:
    """The best finalist, or of those that the holdout cannot tell from it the cheapest, then the fastest, then the incumbent."""
    incumbent = finalists[0]
    usable = [
        finalist
        for finalist in finalists
        if finalist is incumbent
        or (finalist.against and finalist.against.outcome != "worse" and not at_fault(finalist.holdout, incumbent.holdout))
    ]
    sign = -1.0 if incumbent.holdout.header.directions.get(metric) == "lower" else 1.0

    def merit(finalist: Finalist) -> float:
        return sign * (finalist.holdout.mean(metric) or 0.0)

    best = max(usable, key=lambda finalist: (merit(finalist), finalist is incumbent, -finalist.trial.number))
    tied = _tied(usable, best, incumbent, metric)
    cheapest = _least(tied, _usd, SAME_PRICE)
    fastest = _least(cheapest, _median_ms, SAME_TIME)
    winner = next((finalist for finalist in fastest if finalist is incumbent), max(fastest, key=merit))
    return Winner(winner, _verdict(winner, incumbent, metric) + _choice(winner, best, tied, cheapest))


def _tied(usable: Sequence[Finalist], best: Finalist, incumbent: Finalist, metric: str) -> list[Finalist]:
    """Those that the holdout cannot tell from the best; for the incumbent that is decided already, corrected for all finalists."""
    if best.against is None:
        return [finalist for finalist in usable if finalist.against is None or finalist.against.outcome == "tie"]
    others = [finalist for finalist in usable if finalist is not best and finalist is not incumbent]
    # which side is better matters to no tie
    comparisons = holm([compare_metric(best.holdout, finalist.holdout, metric) for finalist in others])
    tied = [finalist for finalist, comparison in zip(others, comparisons, strict=True) if comparison.outcome == "tie"]
    tied += [best, *([incumbent] if best.against.outcome == "tie" else [])]
    return [finalist for finalist in usable if any(finalist is one for one in tied)]


def _least(finalists: Sequence[Finalist], number: Callable[[Finalist], float], same: float) -> list[Finalist]:
    """Those whose number is the least, or too near to it to count as more."""
    least = min(map(number, finalists))
    return [finalist for finalist in finalists if number(finalist) <= least * (1 + same)]


def _verdict(winner: Finalist, incumbent: Finalist, metric: str) -> str:
    against, name = winner.against, incumbent.trial.name
    if against is None:
        first = f"No finalist is better than the {name} on the holdout; the {name} stays."
    elif against.outcome == "better":
        first = f"Better than the {name} on the holdout: {_difference(against, metric)}, {p_value_text(against.p_value)} after Holm."
    else:
        seen = (
            f"{against.count} cases show differences from about {against.detectable:.3f}"
            if against.detectable
            else "every case scored the same"
        )
        first = f"A tie with the {name} on the holdout ({_difference(against, metric)}); {seen}."
    return first


def _choice(winner: Finalist, best: Finalist, tied: Sequence[Finalist], cheapest: Sequence[Finalist]) -> str:
    """Why this one of several that are alike, where there are several."""
    if len(tied) == 1:
        return ""
    price = f"${_usd(winner):.6f} a query" if math.isfinite(_usd(winner)) else "no price is known"
    said = f" Of {len(tied)} that the holdout cannot tell apart "
    if len(cheapest) == 1:
        said += f"it is the cheapest ({price})"
    else:
        said += f"{len(cheapest)} cost the least ({price}), and none of these is clearly faster (p50 {_median_ms(winner):.0f} ms)"
    return said + ("." if winner is best or winner.against is None else f"; {best.trial.title} has the highest mean.")


def _difference(against: Comparison, metric: str) -> str:
    return f"{metric} {against.difference:+.3f} [{against.low:+.3f}, {against.high:+.3f}]"


def _usd(finalist: Finalist) -> float:
    """Dollars a query; an unknown price is never the cheapest."""
    usd = finalist.holdout.costs["usd"]
    return math.inf if usd is None else usd


def _median_ms(finalist: Finalist) -> float:
    ms = finalist.holdout.time("p50")
    return math.inf if ms is None else ms
