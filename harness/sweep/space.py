"""From a space to a trial's values, through Optuna."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from harness.sweep.experiment import Choice, FloatRange, IntRange, Range

if TYPE_CHECKING:
    from optuna.trial import Trial


def suggest(trial: "Trial", space: Mapping[str, Range]) -> dict[str, Any]:
    """A value for every path of the space."""
    return {path: _one(trial, path, values) for path, values in space.items()}


def _one(trial: "Trial", path: str, values: Range) -> Any:
    match values:
        case IntRange():
            return trial.suggest_int(path, *values.bounds, step=values.step, log=values.log)
        case FloatRange():
            return round(trial.suggest_float(path, *values.bounds, step=values.step, log=values.log), 9)  # 0.3, not 0.30000000000000004
        case Choice():
            return trial.suggest_categorical(path, values.choice)


def contains(space: Mapping[str, Range], values: Mapping[str, Any]) -> bool:
    """Whether values lie in the space, so that a trial may start from them."""
    return all(path in values and _within(space[path], values[path]) for path in space)


def _within(allowed: Range, value: Any) -> bool:
    if isinstance(allowed, Choice):
        return value in allowed.choice
    low, high = allowed.bounds
    if not isinstance(value, int | float) or not low <= value <= high:
        return False
    steps = (value - low) / (allowed.step or 1)
    whole = isinstance(value, int) or isinstance(allowed, FloatRange)
    return whole and (allowed.step is None or abs(steps - round(steps)) < 1e-9)
