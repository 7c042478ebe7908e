"""Means and rates with their 95 % intervals, by formulas: nothing is drawn, so nothing differs from run to run."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.stats.bounded import IntervalEnds, bounded_ends
from harness.stats.clusters import Numbers, cluster_sizes, cluster_sums, pseudo_values

CONFIDENCE = 0.95
FEW = 10  # clusters; with fewer no normal-theory interval is shown (reports/bench/statistics.md)
SEED = 20260930  # of everything in this package and beyond it that is drawn after all
RESAMPLES = 2000  # of a bootstrap, where there is no formula
# How much of the sample's skewness moves the ends of an interval. All of it is right for many values and too much for
# few, where the sample's skewness is mostly noise; half gives 95 % nearest (reports/bench/statistics.md).
SKEW_TRUST = 0.5


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with its 95 % interval; all three `None` when nothing was scored."""

    mean: float | None
    low: float | None
    high: float | None
    count: int


def mean_interval(values: Sequence[float], clusters: Sequence[str] | None = None, *, shares: bool = True) -> Interval:
    """The mean with its interval: Wilson's for scores of 0 and 1, a t interval corrected for skewness for others.

    Other scores on few clusters, or all alike, have the bounds that need no normal theory. Not `shares`: the values are counts,
    dollars or times, so that a 1 is no "yes" and nothing bounds them; of few clusters each counts for itself.
    """
    if not values:
        return Interval(None, None, None, 0)
    sample = np.asarray(values, dtype=np.float64)
    count, mean = len(sample), float(sample.mean())
    if not shares and clusters is not None and len(set(clusters)) < FEW:
        clusters = None
    independent = pseudo_values(sample, clusters)
    bounded = shares and sample.min() >= 0.0 and sample.max() <= 1.0
    if bounded and np.isin(sample, (0.0, 1.0)).all():
        ends = wilson(mean, _effective(mean, count, independent))
    elif bounded and (len(independent) < FEW or not _standard_error(independent)):
        ends = bounded_ends(cluster_sums(sample, clusters), cluster_sizes(count, clusters), 1 - CONFIDENCE, 0.0, 1.0)
    else:
        ends = skewed_ends(independent)
        if bounded:  # scores between 0 and 1 have a mean between 0 and 1
            ends = IntervalEnds(max(0.0, ends.low), min(1.0, ends.high))
    return Interval(mean, ends.low, ends.high, count)


def rate_interval(successes: int, count: int) -> Interval:
    """The share of successes with Wilson's interval; `None` of nothing."""
    if not 0 <= successes <= count:
        raise ValueError(f"{successes} successes of {count} cannot be.")
    if count == 0:
        return Interval(None, None, None, 0)
    share = successes / count
    ends = wilson(share, count)
    return Interval(share, ends.low, ends.high, count)


def wilson(share: float, count: float) -> IntervalEnds:
    """Wilson's score interval; `count` may be an effective one, with a fraction."""
    from scipy import special

    z2 = float(special.ndtri((1 + CONFIDENCE) / 2)) ** 2
    middle = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = math.sqrt(z2) / (1 + z2 / count) * math.sqrt(share * (1 - share) / count + z2 / (4 * count * count))
    return IntervalEnds(min(share, max(0.0, middle - half)), max(share, min(1.0, middle + half)))


def t_ends(values: Numbers, confidence: float = CONFIDENCE) -> IntervalEnds:
    """Student's interval of a mean; of one value, or of equal ones, it is that value."""
    mean, error = float(values.mean()), _standard_error(values)
    reach = _t_quantile(len(values), confidence) * error if error else 0.0
    return IntervalEnds(mean - reach, mean + reach)


def skewed_ends(values: Numbers) -> IntervalEnds:
    """Student's interval through Hall's cubic, which moves the ends to the side where the long tail is."""
    mean, error = float(values.mean()), _standard_error(values)
    if not error:
        return IntervalEnds(mean, mean)
    count, centred = len(values), values - mean
    skew = SKEW_TRUST * float((centred**3).mean()) / float((centred**2).mean()) ** 1.5
    quantile = _t_quantile(count)
    return IntervalEnds(mean - error * _hall(quantile, skew, count), mean - error * _hall(-quantile, skew, count))


def percentile(values: Sequence[float], share: float) -> float | None:
    """A percentile of what was measured; `None` of nothing."""
    return float(np.percentile(np.asarray(values), share * 100)) if values else None


def _hall(quantile: float, skew: float, count: int) -> float:
    """The quantile of a studentised mean whose Hall transform has this quantile (P. Hall, 1992)."""
    a = skew / math.sqrt(count)
    if abs(a) < 1e-9:
        return quantile
    return 3 / a * (math.cbrt(1 + a * (quantile - a / 6)) - 1)


def _standard_error(values: Numbers) -> float:
    """The standard error of the mean; 0 where nothing varies, rounding being no spread."""
    if len(values) < 2 or float(np.ptp(values)) < 1e-12:
        return 0.0
    return float(values.std(ddof=1)) / math.sqrt(len(values))


def _t_quantile(count: int, confidence: float = CONFIDENCE) -> float:
    from scipy import special

    return float(special.stdtrit(count - 1, (1 + confidence) / 2))


def _effective(share: float, count: int, independent: Numbers) -> float:
    """How many independent cases would vary as these clusters do; never more than there are cases."""
    if len(independent) == count:
        return count
    spread = float(independent.var())
    if spread < 1e-12:  # all alike: a cluster is the most that may count
        return len(independent)
    return min(float(count), max(1.0, share * (1 - share) * len(independent) / spread))
