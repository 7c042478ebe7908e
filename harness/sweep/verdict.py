"""The winner: the best on the holdout, and among statistical ties the cheapest, then the fastest."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.compare import held_against
from harness.results import EvalReport
from harness.stats import Comparison
from harness.sweep.experiment import Experiment
from serving.pipeline.config import RagConfig


@dataclass(frozen=True, slots=True)
class Tried:
    """A configuration and what it scored on the tune split; number 0 is the base."""

    number: int
    values: dict[str, Any]
    config: RagConfig
    report: EvalReport
    objective: float
    run_id: str

    @property
    def crashed(self) -> bool:
        """Whether it failed on some cases by its own fault; its mean is then of the others only."""
        return bool(self.report.errors)


@dataclass(frozen=True, slots=True)
class Finalist:
    """A configuration re-scored on the holdout, and held against the base on the same cases."""

    tried: Tried
    holdout: EvalReport
    against_base: Comparison | None  # None: it is the base


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
    finalists: tuple[Finalist, ...]  # the base first
    winner: Finalist
    reason: str
    run_id: str
    run_url: str

    @property
    def verdict(self) -> str:
        """What the winner is to the base: better, tie, or the base itself."""
        return self.winner.against_base.outcome if self.winner.against_base else "base"


def choose(finalists: Sequence[Finalist], metric: str) -> Winner:
    """The best finalist, or the cheapest of those that the holdout cannot tell from it."""
    base = finalists[0]
    usable = [
        one for one in finalists if one is base or (one.against_base and one.against_base.outcome != "worse" and not one.holdout.errors)
    ]
    best = max(usable, key=lambda one: (one.holdout.mean(metric) or 0.0, -one.tried.number))
    tied = [one for one in usable if one is best or held_against(best.holdout, one.holdout, metric).outcome == "tie"]
    winner = min(tied, key=lambda one: (_price(one), round(one.holdout.times["total"]["p50"], -1), one.tried.number))
    return Winner(winner, _reason(winner, best, base, len(tied), metric))


def _reason(winner: Finalist, best: Finalist, base: Finalist, tied: int, metric: str) -> str:
    against = winner.against_base
    if against is None:
        first = "No finalist is better than the base on the holdout; the base stays."
    elif against.outcome == "better":
        first = f"Better than the base on the holdout: {_difference(against, metric)}, {p_words(against.p_value)} after Holm."
    else:
        seen = (
            f"{against.count} cases show differences from about {against.detectable:.3f}"
            if against.detectable
            else "every case scored the same"
        )
        first = f"A tie with the base on the holdout ({_difference(against, metric)}); {seen}."
    if tied > 1:
        first += f" Of {tied} that the holdout cannot tell apart it is the cheapest (${_price(winner):.6f} a query)"
        first += "." if winner is best or winner is base else f"; trial {best.tried.number} has the highest mean."
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
