"""A trial on the holdout beside what had to be beaten, and what it saves."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from harness.results.report import EvalReport
from harness.results.timing import TimingComparison
from harness.stats import Comparison, Outcome
from harness.sweep.trial import Trial

SAME_PRICE = 0.02  # relative differences up to which two cost the same


@dataclass(frozen=True, slots=True)
class Finalist:
    """A trial scored again on the holdout, and its paired comparison with the incumbent on the same cases."""

    trial: Trial
    holdout: EvalReport
    against: Comparison | None  # None: it is the incumbent itself
    timing: TimingComparison | None = None  # against the incumbent; None: not measured, so time decides nothing


def cheaper(finalist: Finalist, other: Finalist, share: float) -> bool:
    """Whether it costs less by this share; an unknown price is neither the lower nor the higher one."""
    mine, theirs = usd_of(finalist), usd_of(other)
    return math.isfinite(theirs) and mine <= theirs * (1 - share) and mine < theirs


def saves(finalist: Finalist, other: Finalist, share: float) -> bool:
    """Whether it is cheaper by this share or, where it costs the same, measured to be faster by this share.

    Times were measured against the incumbent, so they say nothing between two of its challengers.
    """
    if cheaper(finalist, other, share):
        return True
    timed = other.against is None and finalist.timing is not None and finalist.timing.high <= 1 - share
    return timed and usd_of(finalist) <= usd_of(other) * (1 + SAME_PRICE)


def usd_of(finalist: Finalist) -> float:
    """Dollars a query; infinite where a price is not known."""
    usd = finalist.holdout.costs.get("usd")
    return math.inf if usd is None else usd


def combined_outcome(challengers: Sequence[Finalist]) -> Outcome:
    """One outcome for all challengers that did not win: as long as one of them is undecided, so is the whole."""
    outcomes = {one.against.outcome for one in challengers if one.against}
    if "undecided" in outcomes or not outcomes - {"better"}:
        return "undecided"
    return "equivalent" if "equivalent" in outcomes else "worse"
