"""A test that may be looked at after every case: betting against "not worse" until nobody would."""

import math
from collections.abc import Sequence

import numpy as np

STAKES = np.linspace(0.05, 0.95, 19)  # shares of the capital put on "worse", side by side: no one share suits every difference


def surely_worse(differences: Sequence[float], alpha: float) -> bool:
    """Whether paired differences (this − the other, each from −1 to 1) show this to be worse.

    With a true mean of 0 or above the answer is ever "yes" with a probability of at most `alpha`, however often it is
    asked: the capital is a supermartingale, so by Ville's inequality it seldom grows past 1/alpha.
    """
    return wealth(differences) >= 1.0 / alpha


def wealth(differences: Sequence[float]) -> float:
    """What a capital of 1 has become."""
    if not differences:
        return 1.0
    steps = np.log1p(-np.outer(STAKES, np.clip(np.asarray(differences, dtype=np.float64), -1.0, 1.0)))
    return float(np.mean(np.exp(np.minimum(steps.sum(axis=1), math.log(1e12)))))
