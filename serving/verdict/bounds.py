"""Bounds of a mean that hold at every look: by betting, observation after observation, on its being higher or lower.

A bettor who puts a share s of the most that can be staked on "the mean is above m" multiplies by 1 + s · (x − m) / (m − least) with each
x. While every x is expected to be at most m, whatever came before, no share gains on average; so neither does the mean over a grid of
shares, and by Ville's inequality it ever reaches 1/alpha with a chance of at most alpha, however often one looks. The bound is the
highest m that has been ruled out. Nothing is assumed of the observations but a range that is known before each of them.
"""

import math
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Numbers: TypeAlias = NDArray[np.floating[Any]]
STAKES: Final = 0.95 * 0.7 ** np.arange(14)  # shares of the most that can be staked: no one share suits every mean
_LEARNED: Final = 16  # observations before the first centre is learned; then at each doubling
_CLOSE: Final = 1e-4  # how exactly a bound is found


@dataclass(frozen=True, slots=True)
class Observations:
    """Observations in their order, with what each could have been at least and at most, and how often it came."""

    values: Numbers
    least: Numbers
    most: Numbers
    often: Numbers

    @classmethod
    def of(cls, values: Numbers, least: Numbers, most: Numbers) -> "Observations":
        """Each came once."""
        return cls(values, least, most, np.ones_like(values))

    @property
    def gathered(self) -> "Observations":
        """Like ones as one that came several times: a bettor's wealth does not depend on their order."""
        rows, places = np.unique(np.stack([self.values, self.least, self.most], axis=1), axis=0, return_inverse=True)
        return Observations(rows[:, 0], rows[:, 1], rows[:, 2], np.bincount(places.ravel(), self.often, len(rows)).astype(np.float64))

    @property
    def count(self) -> int:
        """How many came."""
        return int(self.often.sum())

    @property
    def mean(self) -> float:
        """Their mean."""
        return float(self.values @ self.often / self.often.sum())

    @property
    def negated(self) -> "Observations":
        """The same with their signs turned round."""
        return Observations(-self.values, -self.most, -self.least, self.often)


def paired(differences: Numbers) -> Observations:
    """Differences of pairs, each from −1 to 1."""
    ones = np.ones_like(differences)
    return Observations.of(differences, -ones, ones)


def shares(values: Numbers) -> Observations:
    """Values from 0 to 1."""
    return Observations.of(values, np.zeros_like(values), np.ones_like(values))


def drawn(values: Numbers, chosen: NDArray[np.bool_], weights: Numbers) -> Observations:
    """Values from 0 to 1, of which each was drawn into one group (`chosen`) with a known chance, else into the other.

    A value over its chance, and the negative where it was drawn into the other group, is on average the difference of both groups, by
    the draw alone: whoever comes when, and whatever the chances are at the time. A centre that was learned from earlier values is taken
    away first: that moves no average, since it is the same for both groups, and brings the observations closer together.
    """
    centres = _centres(values)
    up, down = (1.0 - centres), centres
    made = (values - centres) * np.where(chosen, 1.0 / weights, -1.0 / (1.0 - weights))
    least = -np.maximum(down / weights, up / (1.0 - weights))
    most = np.maximum(up / weights, down / (1.0 - weights))
    return Observations.of(made, least, most)


def _centres(values: Numbers) -> Numbers:
    """For each value a mean of earlier ones, learned anew whenever they have doubled."""
    centres = np.zeros_like(values)
    start = _LEARNED
    while start < len(values):
        centres[start : 2 * start] = values[:start].mean()
        start *= 2
    return centres


def log_growths(seen: Observations, mean: float) -> Numbers:
    """What each share has made of a wealth of 1, as logarithms, by betting on a mean above this one."""
    steps = np.log1p(np.outer(STAKES, (seen.values - mean) / (mean - seen.least)))
    grown: Numbers = steps @ seen.often
    return grown


def log_wealth(seen: Observations, mean: float) -> float:
    """The logarithm of the wealth of all shares together, which begins at 0."""
    grown = log_growths(seen, mean)
    most = float(grown.max())
    return most + math.log(float(np.mean(np.exp(grown - most))))


def lower_bound(seen: Observations, alpha: float, least: float = -1.0, most: float = 1.0) -> float:
    """The highest mean in a range that is ruled out as too low; the range's lower end where none is. Ever wrong with a chance of alpha."""
    wanted = math.log(1.0 / alpha)
    low, high = least, most
    if not seen.count or log_wealth(seen, low + _CLOSE) < wanted:
        return least
    while high - low > _CLOSE:
        middle = (low + high) / 2
        low, high = (middle, high) if log_wealth(seen, middle) >= wanted else (low, middle)
    return low


def upper_bound(seen: Observations, alpha: float, least: float = -1.0, most: float = 1.0) -> float:
    """The lowest mean in a range that is ruled out as too high; the range's upper end where none is. Ever wrong with a chance of alpha."""
    return -lower_bound(seen.negated, alpha, -most, -least)


def more_needed(seen: Observations, mean: float, alpha: float) -> int | None:
    """About how many observations more rule out that the mean is at least this, if they go on as they did; None: as they do, none will."""
    if not seen.count:
        return None
    turned = seen.negated
    speed = float(log_growths(turned, -mean).max()) / seen.count
    missing = math.log(1.0 / alpha) - log_wealth(turned, -mean)
    return math.ceil(max(missing, 0.0) / speed) if speed > 0.0 else None


def skewed_draws(chosen: NDArray[np.bool_], weights: Numbers) -> float:
    """How sure it is (a logarithm of wealth) that others were drawn, or are missing since, than the weights say."""
    odds = np.log(np.array([1 / 8, 1 / 4, 1 / 2, 2 / 3, 1.5, 2.0, 4.0, 8.0]))
    normal = np.log1p(np.outer(np.expm1(odds), weights))  # what keeps the chances at 1 in all
    grown = odds * float(chosen.sum()) - normal.sum(axis=1)
    most = float(grown.max())
    return most + math.log(float(np.mean(np.exp(grown - most))))
