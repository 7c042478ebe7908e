"""The sign-flip permutation test of paired differences: were A and B alike, every difference could have had the other sign."""

import numpy as np

from harness.stats.clusters import Numbers
from harness.stats.intervals import SEED

DRAWS = 9_999  # patterns of signs; with the one observed they make 10,000
COUNTED = 13  # up to so many differences every pattern is counted: 8,192 of them
_BITS = np.arange(256)[:, None] >> np.arange(8) & 1  # the eight signs of each byte


def flip_test(differences: Numbers) -> float:
    """The two-sided p-value of their mean; exact where patterns can be counted, else by seeded draws, as (k + 1) / (n + 1)."""
    sizes = np.abs(differences[differences != 0.0])  # a difference of 0 has no sign to flip
    count = len(sizes)
    if count == 0:
        return 1.0
    least = abs(float(differences.sum())) - 1e-9 * float(sizes.sum())  # sums that differ by rounding are equal
    if float(np.ptp(sizes)) <= 1e-9 * float(sizes.max()):
        from scipy import stats

        return float(stats.binomtest(int((differences > 0).sum()), count).pvalue)  # McNemar's exact test
    if count <= COUNTED:
        patterns = np.arange(2**count)[:, None] >> np.arange(count) & 1
        return _extreme(patterns @ sizes, sizes, least) / float(2**count)
    return (_extreme(_drawn(sizes), sizes, least) + 1) / (DRAWS + 1)


def _drawn(sizes: Numbers) -> Numbers:
    """For each drawn pattern the sum of the sizes that got a plus; a byte draws eight signs, so their sums are looked up."""
    eights = np.zeros(-(-len(sizes) // 8) * 8)
    eights[: len(sizes)] = sizes
    rng, sums = np.random.default_rng(SEED), np.zeros(DRAWS)
    for eight in eights.reshape(-1, 8):
        sums += (_BITS @ eight).take(rng.integers(0, 256, size=DRAWS, dtype=np.uint8))
    return sums


def _extreme(plus: Numbers, sizes: Numbers, least: float) -> int:
    """How many patterns bring a sum as far from 0 as the one observed; `plus` is what each gives a plus."""
    return int((np.abs(2.0 * plus - sizes.sum()) >= least).sum())
