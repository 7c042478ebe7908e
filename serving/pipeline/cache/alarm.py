"""An alarm that may be looked at after every audit: a bet against the hypothesis that few enough hits disagree.

For a fixed stake the wealth multiplies by 1 + stake·(x − tolerated) with each audit, x being 1 where it disagreed. While the chance of a
disagreement is at most `tolerated`, whatever happened before, no stake gains on average; so neither does the mean over a grid of
stakes, and by Ville's inequality the wealth ever reaches 1/alpha with a chance of alpha at most, however often one looks. The wealth
depends on two counts alone, which processes can add up together.
"""

import math
from typing import Final

import numpy as np

_STAKES: Final = np.arange(1, 64) / 64  # as shares of the greatest, 1 / tolerated


def log_wealth(audits: int, disagreed: int, tolerated: float) -> float:
    """The logarithm of the bet's wealth, which begins at 0."""
    grows = disagreed * np.log1p(_STAKES * (1 - tolerated) / tolerated) + (audits - disagreed) * np.log1p(-_STAKES)
    most = float(grows.max())
    return most + math.log(float(np.mean(np.exp(grows - most))))


def alarms(audits: int, disagreed: int, *, tolerated: float, alpha: float) -> bool:
    """Whether more hits disagree than are tolerated; wrong with a chance of at most `alpha`, ever."""
    return disagreed > 0 and log_wealth(audits, disagreed, tolerated) >= math.log(1 / alpha)
