"""How long a configuration takes beside another, measured for that purpose."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TimingComparison:
    """A configuration's time over another's: warm, alternating, on the same cases, one question at a time, kept answers never counted."""

    count: int  # cases that both answered
    before_ms: float  # median of the other
    after_ms: float  # median of this one
    ratio: float  # geometric mean of after / before, case by case
    low: float  # its interval, corrected for all that were timed beside it
    high: float
