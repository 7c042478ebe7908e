"""How well probabilities agree with what happened: Brier score, calibration error, the reliability curve."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.stats import Interval, mean_interval, percentile
from harness.stats.clusters import Numbers
from harness.stats.intervals import RESAMPLES, SEED

BINS = 10
LEAST_IN_BIN = 15  # answers; fewer bins where there are not enough


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """Answers of like probability: what was said of them, and how many were right."""

    low: float
    high: float
    said: float  # mean probability
    right: Interval  # share that was right


@dataclass(frozen=True, slots=True)
class Reliability:
    """Probabilities against outcomes; intervals are over groups of cases that belong together."""

    right: Interval  # share of all answers
    brier: Interval
    constant_brier: float  # of one who always says the share that is right here
    error: Interval  # expected calibration error: mean distance of said from right over the bins
    expected_error: float  # what chance alone would make it if the probabilities were true
    auc: Interval  # how often a right answer has the higher probability
    gap: Interval  # said minus right, over all
    bins: tuple[ReliabilityBin, ...]

    @property
    def verdict(self) -> str:
        """Whether the probabilities may be taken for what they say."""
        gap = self.gap
        if gap.low is not None and gap.low > 0:
            return "badly calibrated: it says more than is right"
        if gap.high is not None and gap.high < 0:
            return "badly calibrated: it says less than is right"
        if self.error.mean is not None and self.error.mean > 2 * self.expected_error:
            return "badly calibrated in parts: the error is more than twice what chance makes"
        return "calibrated as far as these answers show"


def reliability(said: Sequence[float], right: Sequence[bool], groups: Sequence[str]) -> Reliability:
    """The figures for answers in any order; each resample of a bootstrap draws whole groups."""
    p, y = np.asarray(said, dtype=np.float64), np.asarray(right, dtype=np.float64)
    bins = _bins(p)
    members = [np.flatnonzero(np.asarray(groups) == name) for name in dict.fromkeys(groups)]
    rng = np.random.default_rng(SEED)
    draws = [np.concatenate([members[at] for at in rng.integers(len(members), size=len(members))]) for _ in range(RESAMPLES)]

    def interval(measure: Callable[[Numbers, Numbers], float]) -> Interval:
        values = sorted(value for draw in draws if np.isfinite(value := measure(p[draw], y[draw])))
        mean = measure(p, y)
        if not values or not np.isfinite(mean):
            return Interval(None, None, None, len(p))
        return Interval(mean, percentile(values, 0.025), percentile(values, 0.975), len(p))

    simulated = [calibration_error(p, (rng.random(len(p)) < p).astype(np.float64)) for _ in range(200)]
    return Reliability(
        right=mean_interval(list(y), list(groups)),
        brier=interval(lambda a, b: float(((a - b) ** 2).mean())),
        constant_brier=float(y.mean() * (1 - y.mean())),
        error=interval(calibration_error),
        expected_error=float(np.mean(simulated)),
        auc=interval(ranking),
        gap=interval(lambda a, b: float((a - b).mean())),
        bins=tuple(
            ReliabilityBin(
                float(p[rows].min()),
                float(p[rows].max()),
                float(p[rows].mean()),
                mean_interval(list(y[rows]), [groups[row] for row in rows]),
            )
            for rows in bins
        ),
    )


def calibration_error(said: Numbers, right: Numbers) -> float:
    """Mean distance of what is said from what is right, over bins of equally many answers."""
    return float(sum(len(rows) * abs(said[rows].mean() - right[rows].mean()) for rows in _bins(said)) / len(said))


def ranking(said: Numbers, right: Numbers) -> float:
    """The chance that a right answer has a higher probability than a wrong one; a tie counts half."""
    from scipy.stats import rankdata

    good = int(right.sum())
    bad = len(right) - good
    if not good or not bad:
        return float("nan")
    return float((rankdata(said)[right == 1].sum() - good * (good + 1) / 2) / (good * bad))


def _bins(said: Numbers) -> list[npt.NDArray[np.intp]]:
    count = max(1, min(BINS, len(said) // LEAST_IN_BIN))
    return [rows for rows in np.array_split(np.argsort(said, kind="stable"), count) if len(rows)]
