"""The winner: the best on the holdout, and among statistical ties the cheapest, then the fastest."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from harness.compare import held_against
from harness.results import EvalReport
from harness.stats import Comparison
from harness.sweep.experiment import Experiment
from harness.sweep.trial import Tried, at_fault


@dataclass(frozen=True, slots=True)
class Finalist:
    """A configuration re-scored on the holdout, and held against the incumbent on the same cases."""

    tried: Tried
    holdout: EvalReport
    against: Comparison | None  # None: it is the incumbent itself


@dataclass(frozen=True, slots=True)
class Winner:
    """Who wins, and why in words."""

    winner: Finalist
    reason: str


@dataclass(frozen=True, slots=True)
class SweepResult:
    """What a sweep found."""

    experiment: Experiment
    trials: tuple[Tried, ...]
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
        return self.winner.against.outcome if self.winner.against else self.incumbent.tried.name


def choose(finalists: Sequence[Finalist], metric: str) -> Winner:
    """The best finalist, or the cheapest of those that the holdout cannot tell from it."""
    incumbent = finalists[0]
    usable = [
        one
        for one in finalists
        if one is incumbent or (one.against and one.against.outcome != "worse" and not at_fault(one.holdout, incumbent.holdout))
    ]
    sign = -1.0 if incumbent.holdout.header.directions.get(metric) == "lower" else 1.0
    best = max(usable, key=lambda one: (sign * (one.holdout.mean(metric) or 0.0), -one.tried.number))
    tied = [one for one in usable if one is best or held_against(best.holdout, one.holdout, metric).outcome == "tie"]
    winner = min(tied, key=lambda one: (_price(one), round(one.holdout.times["total"]["p50"], -1), one.tried.number))
    return Winner(winner, _reason(winner, best, incumbent, len(tied), metric))


def _reason(winner: Finalist, best: Finalist, incumbent: Finalist, tied: int, metric: str) -> str:
    against, name = winner.against, incumbent.tried.name
    if against is None:
        first = f"No finalist is better than the {name} on the holdout; the {name} stays."
    elif against.outcome == "better":
        first = f"Better than the {name} on the holdout: {_difference(against, metric)}, {p_words(against.p_value)} after Holm."
    else:
        seen = (
            f"{against.count} cases show differences from about {against.detectable:.3f}"
            if against.detectable
            else "every case scored the same"
        )
        first = f"A tie with the {name} on the holdout ({_difference(against, metric)}); {seen}."
    if tied > 1:
        first += f" Of {tied} that the holdout cannot tell apart it is the cheapest (${_price(winner):.6f} a query)"
        first += "." if winner is best or winner is incumbent else f"; trial {best.tried.name} has the highest mean."
    return first


def _difference(against: Comparison, metric: str) -> str:
    return f"{metric} {against.difference:+.3f} [{against.low:+.3f}, {against.high:+.3f}]"


def _price(finalist: Finalist) -> float:
    """Dollars a query, a millionth being the smallest difference that counts; an unknown price is never the cheapest."""
    usd = finalist.holdout.costs["usd"]
    return math.inf if usd is None else round(usd, 6)


def p_words(p_value: float) -> str:
    """A p-value as one says it; it is never 0."""
    return "p < 0.001" if p_value < 0.001 else f"p {p_value:.3f}"
