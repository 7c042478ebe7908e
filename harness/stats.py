"""Intervals and paired comparisons; seeded, so that the same scores always give the same verdict."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

SEED = 20260930
RESAMPLES = 2000
ALPHA = 0.05

Outcome = Literal["better", "worse", "tie"]


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with its 95 % interval; all three `None` when nothing was scored."""

    mean: float | None
    low: float | None
    high: float | None
    count: int


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


def mean_interval(values: Sequence[float]) -> Interval:
    """Mean and seeded bootstrap interval (BCa; a constant sample is its own interval)."""
    if not values:
        return Interval(None, None, None, 0)
    sample = np.asarray(values, dtype=np.float64)
    mean = float(sample.mean())
    low, high = _bootstrap(sample)
    return Interval(mean, low, high, len(sample))


def compare(before: Sequence[float], after: Sequence[float], *, higher_is_better: bool = True) -> Comparison:
    """Paired permutation test and bootstrap interval of `after - before`."""
    from scipy import stats

    difference = np.asarray(after, dtype=np.float64) - np.asarray(before, dtype=np.float64)
    count = len(difference)
    if not difference.any():  # also where there are none
        return Comparison(0.0, 0.0, 0.0, 1.0, count, 0.0, "tie")
    mean = float(difference.mean())
    low, high = _bootstrap(difference)
    test = stats.permutation_test(
        (difference,),
        lambda sample, axis: sample.mean(axis=axis),
        permutation_type="samples",
        n_resamples=10_000,
        vectorized=True,
        rng=np.random.default_rng(SEED),
    )
    p_value = float(test.pvalue)
    spread = float(difference.std(ddof=1)) if count > 1 else math.inf
    detectable = (1.959964 + 0.841621) * spread / math.sqrt(count)
    return Comparison(mean, low, high, p_value, count, detectable, _outcome(mean, p_value, higher_is_better))


def holm(comparisons: Sequence[Comparison], *, higher_is_better: bool = True) -> list[Comparison]:
    """The same comparisons with p-values corrected for their number, and outcomes by the corrected ones."""
    order = sorted(range(len(comparisons)), key=lambda index: comparisons[index].p_value)
    corrected, highest = list(comparisons), 0.0
    for rank, index in enumerate(order):
        one = comparisons[index]
        highest = max(highest, min(1.0, one.p_value * (len(comparisons) - rank)))
        corrected[index] = replace(one, p_value=highest, outcome=_outcome(one.difference, highest, higher_is_better))
    return corrected


def _outcome(difference: float, p_value: float, higher_is_better: bool) -> Outcome:
    if p_value > ALPHA:
        return "tie"
    return "better" if (difference > 0) == higher_is_better else "worse"


def percentile(values: Sequence[float], share: float) -> float | None:
    """A percentile of what was measured; `None` of nothing."""
    return float(np.percentile(np.asarray(values), share * 100)) if values else None


def _bootstrap(sample: "np.ndarray[tuple[int], np.dtype[np.float64]]") -> tuple[float, float]:
    from scipy import stats

    if len(sample) < 2 or float(np.ptp(sample)) < 1e-12:  # nothing varies: rounding is no spread
        return float(sample.mean()), float(sample.mean())
    result = stats.bootstrap((sample,), np.mean, n_resamples=RESAMPLES, method="BCa", rng=np.random.default_rng(SEED))
    low, high = float(result.confidence_interval.low), float(result.confidence_interval.high)
    mean = float(sample.mean())
    return (low if math.isfinite(low) else mean), (high if math.isfinite(high) else mean)
