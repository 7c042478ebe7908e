"""Splitting labelled examples between fitting and calibration: groups stay whole, and the newer ones calibrate."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from harness.calibrate.labelled import instant
from serving.pipeline.errors import ConfigError


@dataclass(frozen=True, slots=True)
class FitSplit:
    """The indexes of examples on each side."""

    fit: tuple[int, ...]
    calibration: tuple[int, ...]
    by_time: bool


def fit_split(groups: Sequence[str], times: Sequence[str] = (), *, fit_share: float = 0.5, salt: str = "calibrate") -> FitSplit:
    """Split by the time of each group's first example where all have times, else by a salted hash of the group's name.

    An empty name is a group of its own. In time, a group that was begun before the cut is fitted on whole.
    """
    if not 0.0 < fit_share < 1.0:
        raise ConfigError(f"The share that is fitted on is above 0 and below 1, not {fit_share!r}.")
    names = [group or f"\0{index}" for index, group in enumerate(groups)]
    by_time = bool(names) and len(times) == len(names) and all(times)
    if by_time:
        begun: dict[str, float] = {}
        for index, name in enumerate(names):
            moment = instant(times[index], f"example {index + 1}")
            begun[name] = min(moment, begun.get(name, moment))
        order = sorted(range(len(names)), key=lambda index: (begun[names[index]], names[index]))
        cut = order[: round(fit_share * len(order))]
        fitted = {names[index] for index in cut}
    else:
        fitted = {name for name in set(names) if _place(name, salt) < fit_share}
    sides = [name in fitted for name in names]
    return FitSplit(
        tuple(index for index, side in enumerate(sides) if side), tuple(index for index, side in enumerate(sides) if not side), by_time
    )


def _place(name: str, salt: str) -> float:
    """A number from 0 to below 1 that is the same on every machine."""
    return int.from_bytes(sha256(f"{salt}\0{name}".encode()).digest()[:8], "big") / 2**64
