"""The order in which thresholds are tested, so that many tests together err no more often than stated (Learn then Test).

Thresholds are tested from the most careful one on. The error is split over a few starting points, fixed by the number of labels
alone; each threshold is tested with what was given to starts since the last one that failed, and a pass hands it all on (the
fallback procedure of Wiens and Dmitrienko, 2005). The first unsafe threshold that is reached is then passed with at most that error.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from harness.calibrate.bounds import least_labels

FACTOR = 3.0  # from one start to the next, in the number of groups that act (reports/bench/calibrate.md)
MOST_STARTS = 4
LAST_START = 0.6  # of all groups: a later start would be reached only where nearly everything acts


@dataclass(frozen=True, slots=True)
class WalkStart:
    """A number of acting groups at which the walk begins, or begins again, with its part of the error."""

    acting: float
    error: float


@dataclass(frozen=True, slots=True)
class TestedThreshold:
    """A threshold, by its place, whose risk is shown to be below the level."""

    place: int
    tested_at: float


def starts_for(groups: int, level: float, error: float, high: float = 1.0, *, most: int = MOST_STARTS) -> tuple[WalkStart, ...]:
    """The starts for a risk per action: with the fewest groups that can show it, none going wrong, then each time with three times as many.

    At the top few act, and one loss there would end a single walk although thousands further down bear it easily.
    """
    for number in range(most, 1, -1):
        first = least_labels(level, error / number, high)
        if first * FACTOR ** (number - 1) <= LAST_START * groups:
            return tuple(WalkStart(math.ceil(first * FACTOR**step), error / number) for step in range(number))
    return (WalkStart(least_labels(level, error, high), error),)


def walk(acting: Sequence[float], starts: Sequence[WalkStart], p_value: Callable[[int], float]) -> list[TestedThreshold]:
    """The thresholds that pass, from careful to careless; `acting` is the number of groups that act at each."""
    passed: list[TestedThreshold] = []
    waiting, error, place = list(starts), 0.0, 0
    while place < len(acting):
        if error == 0.0:  # nothing can be shown before the next start
            if not waiting:
                break
            while place < len(acting) and acting[place] < waiting[0].acting - 1e-9:
                place += 1
            if place == len(acting):
                break
        while waiting and acting[place] >= waiting[0].acting - 1e-9:
            error += waiting.pop(0).error
        if p_value(place) <= error + 1e-12:
            passed.append(TestedThreshold(place, error))
        else:
            error = 0.0
        place += 1
    return passed
