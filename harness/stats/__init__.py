"""Intervals, paired comparisons and what a number of cases can show; the same scores always give the same verdict."""

from harness.stats.intervals import Interval, mean_interval, percentile, rate_interval
from harness.stats.paired import ALPHA, MARGIN, Comparison, Outcome, compare_paired
from harness.stats.power import cases_needed, minimum_detectable

__all__ = [
    "ALPHA",
    "MARGIN",
    "Comparison",
    "Interval",
    "Outcome",
    "cases_needed",
    "compare_paired",
    "mean_interval",
    "minimum_detectable",
    "percentile",
    "rate_interval",
]
