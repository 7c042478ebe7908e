"""What so many cases can show, and how many cases a difference needs."""

import math

from serving.pipeline.errors import ConfigError

MOST = 100_000_000  # cases; beyond it a difference is out of reach


def minimum_detectable(spread: float, count: int, *, alpha: float = 0.05, power: float = 0.8) -> float:
    """The smallest true difference that a paired test at `alpha` shows with this power; `spread` is the deviation of the differences."""
    _check(spread, alpha, power)
    if spread == 0.0:
        return 0.0
    if count < 2:
        return math.inf
    from scipy import special

    return float(special.stdtrit(count - 1, 1 - alpha / 2) + special.stdtrit(count - 1, power)) * spread / math.sqrt(count)


def cases_needed(spread: float, difference: float, *, alpha: float = 0.05, power: float = 0.8) -> int:
    """How many cases a paired test at `alpha` needs to show a true difference of this size with this power."""
    _check(spread, alpha, power)
    size = abs(difference)
    if not size > 0.0 or minimum_detectable(spread, MOST, alpha=alpha, power=power) > size:
        raise ConfigError(
            f"No number of cases shows a difference of {difference!r}; name one above 0 that matters to you, for example 0.05."
        )
    few, enough = 1, 2
    while minimum_detectable(spread, enough, alpha=alpha, power=power) > size:
        few, enough = enough, enough * 2
    while enough - few > 1:  # few cases are too few, enough are enough
        middle = (few + enough) // 2
        few, enough = (few, middle) if minimum_detectable(spread, middle, alpha=alpha, power=power) <= size else (middle, enough)
    return enough


def _check(spread: float, alpha: float, power: float) -> None:
    if not (spread >= 0.0 and math.isfinite(spread)):
        raise ConfigError(f"A spread is a number from 0, not {spread!r}.")
    for name, share in (("alpha", alpha), ("power", power)):
        if not 0.0 < share < 1.0:
            raise ConfigError(f"{name} is a share between 0 and 1, not {share!r}.")
