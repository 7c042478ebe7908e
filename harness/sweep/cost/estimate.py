"""A number that is not known yet: at least, likely, at most."""

from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict


class Estimate(BaseModel):
    """Three guesses at one number."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    low: float = 0.0
    likely: float = 0.0
    high: float = 0.0

    def __add__(self, other: "Estimate") -> "Estimate":
        return Estimate(low=self.low + other.low, likely=self.likely + other.likely, high=self.high + other.high)

    def __mul__(self, other: "Estimate | float") -> "Estimate":
        by = other if isinstance(other, Estimate) else Estimate(low=other, likely=other, high=other)
        return Estimate(low=self.low * by.low, likely=self.likely * by.likely, high=self.high * by.high)


def total(parts: Iterable[Estimate]) -> Estimate:
    """The sum of several."""
    return sum(parts, Estimate())
