"""Two sets of scores on the same cases: the difference, whether chance explains it, and what may be said of it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from harness.stats.clusters import cluster_sums, pseudo_values
from harness.stats.flips import flip_test
from harness.stats.intervals import t_ends
from harness.stats.power import minimum_detectable

ALPHA = 0.05

Outcome = Literal["better", "worse", "tie"]


@dataclass(frozen=True, slots=True)
class Comparison:
    """A paired difference (B − A) on the same cases, and what may be said of it."""

    difference: float
    low: float
    high: float
    p_value: float
    count: int
    detectable: float  # the smallest true difference that this many cases would show four times in five
    outcome: Outcome


def compare_paired(
    before: Sequence[float], after: Sequence[float], clusters: Sequence[str] | None = None, *, higher_is_better: bool = True
) -> Comparison:
    """Test and interval of `after - before`; cases of one cluster stand and fall together."""
    difference = np.asarray(after, dtype=np.float64) - np.asarray(before, dtype=np.float64)
    count = len(difference)
    if not difference.any():  # also where there are none
        return Comparison(0.0, 0.0, 0.0, 1.0, count, 0.0, "tie")
    mean, independent = float(difference.mean()), pseudo_values(difference, clusters)
    ends, p_value = t_ends(independent), flip_test(cluster_sums(difference, clusters))
    spread = float(independent.std(ddof=1)) if len(independent) > 1 else 0.0
    detectable = minimum_detectable(spread, len(independent)) if len(independent) > 1 else math.inf
    return Comparison(mean, ends.low, ends.high, p_value, count, detectable, _outcome(mean, p_value, higher_is_better))


def holm(comparisons: Sequence[Comparison], *, higher_is_better: bool | Sequence[bool] = True) -> list[Comparison]:
    """The same comparisons with p-values corrected for their number, and outcomes by the corrected ones."""
    higher = [higher_is_better] * len(comparisons) if isinstance(higher_is_better, bool) else higher_is_better
    order = sorted(range(len(comparisons)), key=lambda index: comparisons[index].p_value)
    corrected, highest = list(comparisons), 0.0
    for rank, index in enumerate(order):
        one = comparisons[index]
        highest = max(highest, min(1.0, one.p_value * (len(comparisons) - rank)))
        corrected[index] = replace(one, p_value=highest, outcome=_outcome(one.difference, highest, higher[index]))
    return corrected


def _outcome(difference: float, p_value: float, higher_is_better: bool) -> Outcome:
    if p_value > ALPHA:
        return "tie"
    return "better" if (difference > 0) == higher_is_better else "worse"
