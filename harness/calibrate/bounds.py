"""How surely a risk is below a level: exact for losses of all or nothing, by Gaffke's bound for others; and how many labels that takes."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.stats.bounded import negative_chance
from harness.stats.clusters import Numbers

Counts = npt.NDArray[np.int64]

MOST = 10**9  # labels; beyond it a level is out of reach


@dataclass(frozen=True, slots=True)
class Sample:
    """What a threshold's risk is judged by: the mean loss of each group that takes part, and the greatest that it could have been."""

    losses: Numbers
    high: float  # the greatest loss

    @property
    def risk(self) -> float:
        """The mean loss; 0 of nothing."""
        return float(self.losses.mean()) if len(self.losses) else 0.0

    @property
    def all_or_nothing(self) -> bool:
        """Whether every group loses nothing or all that it can, so that the loss is counted."""
        return bool(((self.losses == 0.0) | (self.losses == self.high)).all())


def p_value(sample: Sample, level: float) -> float:
    """How often labels would look this good or better were the risk as great as the level."""
    if len(sample.losses) == 0:
        return 1.0
    if sample.all_or_nothing:
        lost, count = np.array([np.count_nonzero(sample.losses)], dtype=np.float64), np.array([len(sample.losses)], dtype=np.int64)
        return float(counted_p_values(lost, count, level / sample.high)[0])
    return negative_chance(np.append(level - sample.losses, level - sample.high))


def p_value_above(sample: Sample, level: float, low: float = 0.0) -> float:
    """How often labels would look this bad or worse were the risk no greater than the level; small: the level does not hold."""
    from scipy import special

    if len(sample.losses) == 0:
        return 1.0
    if sample.all_or_nothing and low == 0.0:
        lost = int(np.count_nonzero(sample.losses))
        return float(special.bdtrc(lost - 1, len(sample.losses), level / sample.high)) if lost else 1.0
    return negative_chance(np.append(sample.losses - level, low - level))


def counted_p_values(losses: Numbers, counts: Counts, level: float) -> Numbers:
    """The same for counted losses of each of several thresholds: the binomial's lower tail (Clopper and Pearson)."""
    from scipy import special

    chances = special.bdtr(losses, counts, level)
    return np.where(counts > 0, chances, 1.0)


def upper_bound(sample: Sample, error: float) -> float:
    """The risk that these labels exclude with this error: the level whose p-value is `error`; the greatest loss for no labels."""
    from scipy import optimize, special

    count = len(sample.losses)
    if count == 0:
        return sample.high
    if sample.all_or_nothing:
        lost = int(np.count_nonzero(sample.losses))
        return sample.high if lost == count else sample.high * float(special.betaincinv(lost + 1, count - lost, 1.0 - error))
    wanted = float(special.ndtri(error))

    def beyond(level: float) -> float:  # on the normal scale, where it is nearly straight
        return float(special.ndtri(min(max(p_value(sample, level), 1e-300), 1.0 - 1e-16))) - wanted

    most = sample.high - 1e-9
    low = min(sample.risk, most)
    spread = math.sqrt(float(((sample.losses - low) ** 2).sum()) + (sample.high - low) ** 2) / count
    high = min(most, low - 2 * wanted * spread)
    if high < most and beyond(high) > 0.0:
        high = most
    if beyond(high) > 0.0:
        return sample.high
    return float(optimize.brentq(beyond, low, high, xtol=1e-5, rtol=1e-9))


def least_labels(level: float, error: float, high: float = 1.0) -> int:
    """How many labels show a risk below the level when nothing is lost on any of them: 299 for 1 % with an error of 5 %."""
    return math.ceil(round(math.log(error) / math.log1p(-level / high), 9))


def labels_needed(sample: Sample, level: float, error: float) -> int | None:
    """About how many groups in all would show a risk below the level, were they like these; `None` where the risk seen is not below it."""
    from scipy import special

    if len(sample.losses) == 0 or sample.risk >= level:
        return None
    count = len(sample.losses)
    if sample.all_or_nothing:
        rate, share = sample.risk / sample.high, level / sample.high

        def shown(labels: int) -> bool:
            return float(special.betainc(labels * rate + 1, labels * (1 - rate), share)) >= 1.0 - error

    else:
        spread, margin = float(np.std(sample.losses)), level - sample.risk
        quantile = -float(special.ndtri(error))

        def shown(labels: int) -> bool:  # the normal bound, with one group that was not seen at the greatest loss
            return quantile * spread / math.sqrt(labels) + (sample.high - level) / labels <= margin

    few, enough = 0, max(1, least_labels(level, error, sample.high) if sample.risk == 0.0 else 1)
    while not shown(enough):
        few, enough = enough, enough * 2
        if enough > MOST:
            return None
    while enough - few > 1:
        middle = (few + enough) // 2
        few, enough = (few, middle) if shown(middle) else (middle, enough)
    return max(enough, count if p_value(sample, level) <= error else count + 1) if enough <= count else enough
