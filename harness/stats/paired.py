"""Two sets of scores on the same cases: the difference, what it may be beyond these cases, and what may be said of it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from harness.stats.bounded import IntervalEnds, bounded_ends, bounded_p_value
from harness.stats.clusters import Numbers, cluster_sizes, cluster_sums, pseudo_values
from harness.stats.flips import flip_test
from harness.stats.intervals import FEW, t_ends
from harness.stats.power import cases_needed, minimum_detectable
from serving.pipeline.errors import ConfigError

ALPHA = 0.05
MARGIN = 0.02  # of scores between 0 and 1: what does not matter, where nobody said otherwise
ROUNDING = 1e-9  # by which a score may lie beside the range it belongs to
EVERYTHING = IntervalEnds(-math.inf, math.inf)

Outcome = Literal["better", "equivalent", "worse", "undecided"]


@dataclass(frozen=True, slots=True)
class Comparison:
    """A paired difference (B − A) on the same cases, and what may be said of it."""

    difference: float
    low: float  # the interval, corrected for `among`; −∞ … ∞ where so few cases allow none
    high: float
    p_value: float  # corrected the same way
    count: int
    detectable: float  # about the true difference that these cases show four times in five, by the spread seen here: see `DETECTABLE`
    outcome: Outcome
    margin: float = 0.0  # a difference within it does not matter
    among: int = 1  # comparisons that are looked at together
    raw_p: float = 1.0  # as if it were the only one
    higher_is_better: bool = True
    clusters: int = 0  # that count as independent
    spread: float = 0.0  # the deviation of the clusters' differences
    bounded: bool = False  # the scores lie between 0 and 1

    @property
    def gain(self) -> float:
        """The difference, turned so that up is good."""
        return self.difference if self.higher_is_better else -self.difference

    @property
    def worst(self) -> float:
        """The lower bound of the gain."""
        return self.low if self.higher_is_better else -self.high

    @property
    def best(self) -> float:
        """The upper bound of the gain."""
        return self.high if self.higher_is_better else -self.low

    @property
    def non_inferior(self) -> bool:
        """Whether a loss beyond the margin is ruled out."""
        return self.count > 0 and self.worst > -self.margin

    def cases_to_show(self, difference: float) -> int | None:
        """About how many cases would show a true difference of this size, by the spread seen here; `None` where none can be named."""
        if self.clusters < 1:
            return None
        try:
            clusters = cases_needed(self.spread, difference, unseen=float(self.bounded), alpha=ALPHA / self.among)
        except ConfigError:
            return None
        return math.ceil(clusters * self.count / self.clusters)


def compare_paired(
    before: Sequence[float],
    after: Sequence[float],
    clusters: Sequence[str] | None = None,
    *,
    higher_is_better: bool = True,
    margin: float = MARGIN,
    among: int = 1,
    shares: bool = True,
) -> Comparison:
    """Test and interval of `after - before`, corrected for `among` comparisons; cases of one cluster depend on each other.

    Scores between 0 and 1 have bounds that hold for any number of cases. What is not bounded (not `shares`: counts, dollars, times)
    has Student's interval, and below 10 clusters none.
    """
    first, second = np.asarray(before, dtype=np.float64), np.asarray(after, dtype=np.float64)
    difference = second - first
    count = len(difference)
    if not count:
        return Comparison(0.0, -math.inf, math.inf, 1.0, 0, math.inf, "undecided", margin, among, 1.0, higher_is_better)
    bounded = shares and bool(min(first.min(), second.min()) >= -ROUNDING and max(first.max(), second.max()) <= 1.0 + ROUNDING)
    independent = pseudo_values(difference, clusters)
    alpha = ALPHA / max(1, among)
    if bounded:
        sums, sizes = cluster_sums(difference, clusters), cluster_sizes(count, clusters)
        ends, raw_p = bounded_ends(sums, sizes, alpha, -1.0, 1.0), bounded_p_value(sums, sizes, -1.0, 1.0)
    else:
        ends, raw_p = _student(independent, alpha), flip_test(cluster_sums(difference, clusters))
    p_value = min(1.0, raw_p * max(1, among))
    spread = float(independent.std(ddof=1)) if len(independent) > 1 else 0.0
    return Comparison(
        float(difference.mean()),
        ends.low,
        ends.high,
        p_value,
        count,
        minimum_detectable(spread, len(independent), unseen=float(bounded), alpha=alpha) if math.isfinite(ends.low) else math.inf,
        _outcome(ends, p_value, margin, higher_is_better),
        margin,
        among,
        raw_p,
        higher_is_better,
        len(independent),
        spread,
        bounded,
    )


def _student(independent: Numbers, alpha: float) -> IntervalEnds:
    return t_ends(independent, 1 - alpha) if len(independent) >= FEW else EVERYTHING


def _outcome(ends: IntervalEnds, p_value: float, margin: float, higher_is_better: bool) -> Outcome:
    """By the corrected interval alone; where the test is another one than the interval's, it must agree."""
    if -margin <= ends.low and ends.high <= margin:
        return "equivalent"
    if p_value > ALPHA or ends.low <= 0.0 <= ends.high:
        return "undecided"
    return "better" if (ends.low > 0.0) == higher_is_better else "worse"
