"""What so many cases can show, and how many cases a difference needs."""

import math

from serving.pipeline.errors import ConfigError

MOST = 100_000_000  # cases; beyond it a difference is out of reach


def minimum_detectable(spread: float, count: int, *, unseen: float = 0.0, alpha: float = 0.05, power: float = 0.8) -> float:
    """The smallest true difference that a paired test at `alpha` shows with this power; `spread` is the deviation of the differences.

    `unseen` is how far off a case may lie that was not drawn: 1 for differences of scores between 0 and 1, whose bounds reckon with one.
    """
    _check(spread, alpha, power)
    if spread == 0.0 == unseen:
        return 0.0
    if count < 2:
        return math.inf
    from scipy import special

    quantiles = float(special.stdtrit(count - 1, 1 - alpha / 2) + special.stdtrit(count - 1, power))
    return quantiles * math.sqrt(spread**2 + unseen**2 / count) / math.sqrt(count) + unseen / count


def cases_needed(spread: float, difference: float, *, unseen: float = 0.0, alpha: float = 0.05, power: float = 0.8) -> int:
    """How many cases a paired test at `alpha` needs to show a true difference of this size with this power."""
    _check(spread, alpha, power)
    size = abs(difference)

    def shown(count: int) -> bool:
        return minimum_detectable(spread, count, unseen=unseen, alpha=alpha, power=power) <= size

    if not size > 0.0 or not shown(MOST):
        raise ConfigError(
            f"No number of cases shows a difference of {difference!r}; name one above 0 that matters to you, for example 0.05."
        )
    few, enough = 1, 2
    while not shown(enough):
        few, enough = enough, enough * 2
    while enough - few > 1:  # few cases are too few, enough are enough
        middle = (few + enough) // 2
        few, enough = (few, middle) if shown(middle) else (middle, enough)
    return enough


def _check(spread: float, alpha: float, power: float) -> None:
    if not (spread >= 0.0 and math.isfinite(spread)):
        raise ConfigError(f"A spread is a number from 0, not {spread!r}.")
    for name, share in (("alpha", alpha), ("power", power)):
        if not 0.0 < share < 1.0:
            raise ConfigError(f"{name} is a share between 0 and 1, not {share!r}.")
