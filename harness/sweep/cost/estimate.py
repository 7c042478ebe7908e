"""Estimates of numbers that are not known yet, and their sums and products."""

from collections.abc import Iterable, Sequence
from statistics import fmean

from pydantic import BaseModel, ConfigDict, Field


class Estimate(BaseModel):
    """A number as it may turn out: low, likely, high, and a bound that it cannot pass, which is what budgets reserve."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    low: float = 0.0
    likely: float = 0.0
    high: float = 0.0
    bound: float = Field(default=0.0, exclude=True)

    @classmethod
    def exactly(cls, number: float) -> "Estimate":
        """A number that is known."""
        return cls(low=number, likely=number, high=number, bound=number)

    def __add__(self, other: "Estimate") -> "Estimate":
        return Estimate(**{name: getattr(self, name) + getattr(other, name) for name in Estimate.model_fields})

    def __mul__(self, other: "Estimate | float") -> "Estimate":
        by = other if isinstance(other, Estimate) else Estimate.exactly(other)
        return Estimate(**{name: getattr(self, name) * getattr(by, name) for name in Estimate.model_fields})


def total(parts: Iterable[Estimate]) -> Estimate:
    """The sum of several."""
    return sum(parts, Estimate())


def spread(estimates: Sequence[Estimate]) -> Estimate:
    """One estimate for any of several: the lowest low end, the mean of what is likely, the highest high end and bound."""
    ends = {"high": max(one.high for one in estimates), "bound": max(one.bound for one in estimates)}
    return Estimate(low=min(one.low for one in estimates), likely=fmean(one.likely for one in estimates), **ends)
