"""The mean of values that cannot leave a range: bounds that need no normal theory, for any number of values and any distribution.

The lower bound is the quantile of a weighted mean: every cluster has a random weight (exponential, so that they are uniform over all
that add to one), and one cluster more, that was not seen, stands at the lower end of the range. For values of 0 and 1 it is the bound of
Clopper and Pearson, for differences of −1, 0 and 1 its p-value is McNemar's exact one, and with many values it is the normal one
(N. Gaffke, 2005). No distribution is known for which it errs more often than it says.
"""

import math
from dataclasses import dataclass

import numpy as np

from harness.stats.clusters import Numbers

_STEP = 0.2  # of the trapezoidal rule, in an angle that is stretched to the whole line
_ANGLES = np.arange(0.0, 9.0, _STEP)
_TIMES = np.sinh(_ANGLES)
_WEIGHTS = _STEP * np.cosh(_ANGLES) * np.where(_ANGLES == 0.0, 0.5, 1.0)
_CLOSE = 2e-6  # how exactly the end of an interval is found, in ranges
_STEPS = 12
_NEAR_SADDLE = 0.1  # how far from the saddle point the line may be, in the transform's own width


@dataclass(frozen=True, slots=True)
class IntervalEnds:
    """Where an interval begins and ends."""

    low: float
    high: float


def bounded_ends(sums: Numbers, sizes: Numbers, alpha: float, low: float, high: float) -> IntervalEnds:
    """Both bounds of the mean of all values at this level in all, from the sum of each cluster and its size."""
    return IntervalEnds(_lower(sums, sizes, alpha / 2, low), -_lower(-sums, sizes, alpha / 2, -high))


def bounded_p_value(sums: Numbers, sizes: Numbers, low: float, high: float) -> float:
    """The two-sided p-value of a mean of 0: below `alpha` exactly where the interval at that level leaves 0 out."""
    up = float(sums.sum()) >= 0.0  # the other side's chance is the larger one
    return min(1.0, 2 * (chance_below(sums, sizes, 0.0, low) if up else chance_below(-sums, sizes, 0.0, -high)))


def chance_below(sums: Numbers, sizes: Numbers, mean: float, low: float) -> float:
    """How often the weighted mean, with the unseen cluster at `low`, is at most `mean`: the p-value of "the mean is at most this"."""
    unseen = (low - mean) * float(sizes.mean())
    return negative_chance(np.append(sums - mean * sizes, unseen))


def negative_chance(factors: Numbers) -> float:
    """The chance that a sum of independent standard exponentials, each times its factor, is 0 or below."""
    scale = float(np.abs(factors).max(initial=0.0))
    kept, counts = np.unique(factors[np.abs(factors) > 1e-12 * scale] / (scale or 1.0), return_counts=True)
    often = counts.astype(np.float64)
    if len(kept) == 0 or kept[-1] < 0.0:
        return 1.0
    if kept[0] > 0.0:
        return 0.0
    return _tail(kept, often) if float(often @ kept) > 0.0 else 1.0 - _tail(-kept, often)


def _lower(sums: Numbers, sizes: Numbers, alpha: float, low: float) -> float:
    """The mean that `chance_below` gives `alpha`: by secants on the normal scale, where it is nearly straight."""
    from scipy import optimize, special

    mean, wanted = float(sums.sum() / sizes.sum()), float(special.ndtri(alpha))
    span = mean - low
    if span < 1e-9:
        return low

    def beyond(candidate: float) -> float:
        chance = chance_below(sums, sizes, candidate, low)
        return float(special.ndtri(min(max(chance, 1e-300), 1.0 - 1e-16))) - wanted

    unseen = float(sizes.mean())
    weight = float(sizes.sum()) + unseen
    middle = (float(sums.sum()) + low * unseen) / weight  # of the weighted mean, and its deviation: where the bound is normally
    spread = math.sqrt(float(((sums - middle * sizes) ** 2).sum()) + (unseen * (middle - low)) ** 2) / weight
    last = middle + wanted * spread
    if low < last < mean:
        gap = beyond(last)
        point = last - gap * spread
        for _ in range(_STEPS):
            if not low < point < mean:
                break
            value = beyond(point)
            if value == gap:
                break
            following = point - value * (point - last) / (value - gap)
            last, gap, point = point, value, following
            if abs(point - last) < _CLOSE:
                return max(low, min(point, mean))
    return max(low, float(optimize.brentq(beyond, low + 1e-9 * span, mean, xtol=_CLOSE)))


def _tail(factors: Numbers, counts: Numbers) -> float:
    """`negative_chance` of factors whose sum is above 0, by inverting their Laplace transform along a line through its saddle point."""
    point = _saddle_point(factors, counts)
    rates = factors / (1.0 - factors * point)
    width = 1.0 / math.sqrt(float(counts @ rates**2) + 1.0 / point**2)
    times, several = width * _TIMES, counts > 1.0
    with np.errstate(over="ignore", invalid="ignore"):
        terms = 1.0 - 1j * times[:, None] * rates[None, :]
        product = terms[:, ~several].prod(axis=1) * (terms[:, several] ** counts[several]).prod(axis=1)
        values = (-1.0 / ((point + 1j * times) * product)).real
    values = np.where(np.isfinite(values), values, 0.0)  # a product beyond all numbers: nothing is left of its inverse
    log_height = -float(counts @ np.log1p(-factors * point))
    return min(1.0, max(0.0, width / math.pi * float(values @ _WEIGHTS) * math.exp(log_height)))


def _saddle_point(factors: Numbers, counts: Numbers) -> float:
    """Where the transform over its argument is least, between its first pole below 0 and 0; Newton's steps, kept between both."""
    first, last = 1.0 / float(factors.min()), 0.0
    square = float(counts @ factors**2)
    point = max(first / 2, -float(counts @ factors) / square - 1.0 / math.sqrt(square))
    for _ in range(60):
        rates = factors / (1.0 - factors * point)
        slope, curve = float(counts @ rates) - 1.0 / point, float(counts @ rates**2) + 1.0 / point**2
        first, last = (point, last) if slope < 0.0 else (first, point)
        step = point - slope / curve
        following = step if first < step < last else (first + last) / 2
        # any line near it will do; beside the pole a step is short, however far it is from there
        if abs(slope) <= _NEAR_SADDLE * math.sqrt(curve):
            return following
        point = following
    return point
