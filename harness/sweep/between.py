"""A number that is not known yet: at least, likely, at most."""

from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict


class Between(BaseModel):
    """Three guesses at one number."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    low: float = 0.0
    likely: float = 0.0
    high: float = 0.0

    def __add__(self, other: "Between") -> "Between":
        return Between(low=self.low + other.low, likely=self.likely + other.likely, high=self.high + other.high)

    def __mul__(self, other: "Between | float") -> "Between":
        by = other if isinstance(other, Between) else Between(low=other, likely=other, high=other)
        return Between(low=self.low * by.low, likely=self.likely * by.likely, high=self.high * by.high)


def total(parts: Iterable[Between]) -> Between:
    """The sum of several."""
    return sum(parts, Between())
