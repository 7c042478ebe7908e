"""Whether a mean over a known number of cases, in an order left to chance, can still reach a known one: bets that forecasts sharpen.

The cases are all there are: what must be reached is a number, not an estimate, so that whoever holds it owes nothing to luck. Who
reaches it in the end has, on the cases left, at least the mean that is still needed; after every case the next one is a random one of
these. Scores of others, known on all cases, forecast it: only the surprise is bet on, which varies less than a score, and its mean over
the cases left is known.
"""

import math
from collections.abc import Sequence

import numpy as np

from harness.stats.clusters import Numbers
from harness.stats.sequential import STAKES

SHARPNESS = 1.0  # how soon a forecaster that is wrong loses weight: by e for each squared error of 1
MOST_LOST = 0.95  # share of the capital that one case can cost
_CLOSE = 1e-4
_RICH = 700.0  # the logarithm of more than any capital needs


def cannot_catch_up(scores: Sequence[float] | Numbers, goal: float, forecasters: Numbers, alpha: float) -> bool:
    """Whether the first scores of all (each from 0 to 1) show that their mean ends below `goal`.

    Of a mean that ends at `goal` or above, the answer is ever "yes" in at most a share `alpha` of all orders of the cases, however often
    it is asked. `forecasters` has a row of scores on all cases, in the same order, for each of one or more others.
    """
    return log_wealth(scores, goal, forecasters) >= -math.log(alpha)


def highest_end(scores: Sequence[float] | Numbers, forecasters: Numbers, alpha: float) -> float:
    """The least goal that is shown to be out of reach: the mean ends below it."""
    low, high = float(np.sum(scores)) / forecasters.shape[1], 1.0
    while high - low > _CLOSE:
        middle = (low + high) / 2
        low, high = (low, middle) if cannot_catch_up(scores, middle, forecasters, alpha) else (middle, high)
    return high


def log_wealth(scores: Sequence[float] | Numbers, goal: float, forecasters: Numbers) -> float:
    """The logarithm of what a capital of 1 has become that was put on "it ends below"."""
    seen, count = len(scores), forecasters.shape[1]
    if not seen:
        return 0.0
    values = np.asarray(scores, dtype=np.float64)
    left = count - np.arange(seen)  # cases not seen before each case, itself among them
    needed = (goal * count - np.concatenate([[0.0], np.cumsum(values)[:-1]])) / left
    if needed.max() > 1.0 + 1e-9 or goal * count - values.sum() > count - seen + 1e-9:
        return _RICH
    forecast, rest = _forecasts(values, forecasters, left)
    surprise, least = values - forecast, needed - rest  # and its mean, at least, where the goal is reached
    stakes = np.minimum(STAKES[None, :], MOST_LOST / np.maximum(1.0 - least, 1e-9)[:, None])
    grown = np.log1p(-stakes * (surprise - least)[:, None]).sum(axis=0)
    return float(np.logaddexp.reduce(grown) - np.log(len(STAKES)))


def _forecasts(values: Numbers, forecasters: Numbers, left: Numbers) -> tuple[Numbers, Numbers]:
    """Of each case, from what was seen before it: the forecast, and the mean of the forecasts of all cases not seen by then."""
    seen = len(values)
    predicted = forecasters[:, :seen]
    errors = np.cumsum((predicted - values) ** 2, axis=1) - (predicted - values) ** 2
    weights = np.exp(-SHARPNESS * (errors - errors.min(axis=0)))
    weights /= weights.sum(axis=0)
    rest = forecasters[:, ::-1].cumsum(axis=1)[:, ::-1][:, :seen] / left
    return (weights * predicted).sum(axis=0), (weights * rest).sum(axis=0)
