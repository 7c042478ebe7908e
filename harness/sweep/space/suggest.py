"""From a space to a trial's values: by Optuna, at random, or all of them in turn."""

import itertools
import random
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from harness.sweep.experiment import Experiment
from harness.sweep.space.knobs import Knob
from harness.sweep.space.ranges import Choice, FloatRange, IntRange, draw_value
from serving.pipeline.config import RagConfig
from serving.pipeline.errors import ConfigError

if TYPE_CHECKING:
    from optuna.trial import Trial

MOST = 100_000  # points of a grid


def suggest(trial: "Trial", experiment: Experiment) -> dict[str, Any]:
    """A value for every knob that counts, by its path in the file."""
    plugins = experiment.config.plugins()
    values: dict[str, Any] = {}
    for knob in experiment.knobs:
        if knob.counts(values, plugins):
            values[knob.path] = _suggest_value(trial, knob.name(values, plugins), knob)
    return values


def draw(experiment: Experiment, chance: random.Random, given: Mapping[str, Any]) -> dict[str, Any]:
    """A value for every knob that counts, drawn at random but for those given."""
    plugins = experiment.config.plugins()
    values: dict[str, Any] = {}
    for knob in experiment.knobs:
        if knob.counts(values, plugins):
            values[knob.path] = given[knob.path] if knob.path in given else draw_value(knob.range, chance)
    return values


def study_values(experiment: Experiment, values: Mapping[str, Any]) -> dict[str, Any]:
    """The same values under their names in the study, so that a trial may start from them."""
    plugins = experiment.config.plugins()
    return {
        knob.name(values, plugins): values[knob.path] for knob in experiment.knobs if knob.path in values and knob.counts(values, plugins)
    }


def values_at(experiment: Experiment, flat: Mapping[str, Any]) -> dict[str, Any] | None:
    """The values of a configuration (by its flat paths) at the space's knobs; `None` where it lies outside the space."""
    plugins = experiment.config.plugins()
    values: dict[str, Any] = {}
    for knob in experiment.knobs:
        if not knob.counts(values, plugins):
            continue
        if knob.target not in flat or not knob.range.holds(flat[knob.target]):
            return None
        values[knob.path] = flat[knob.target]
    return values


def values_of(experiment: Experiment, config: RagConfig) -> dict[str, Any] | None:
    """The values that make this very configuration of the base; `None` where none do."""
    values = values_at(experiment, config.flat())
    return values if values is not None and experiment.apply(values) == config else None


def grid(experiment: Experiment) -> list[dict[str, Any]]:
    """Every different combination once, in an order mixed by the seed."""
    size = 1
    for knob in experiment.knobs:
        size *= len(knob.range.values())
        if size > MOST:
            raise ConfigError(f"The grid of {experiment.name!r} has more than {MOST} points. Use wider steps, or the sampler 'tpe'.")
    points = list(_combinations(experiment))
    random.Random(experiment.seed).shuffle(points)  # noqa: S311 — an order, not a secret
    return points


def _combinations(experiment: Experiment) -> Iterator[dict[str, Any]]:
    plugins = experiment.config.plugins()
    seen: set[tuple[tuple[str, Any], ...]] = set()
    paths = [knob.path for knob in experiment.knobs]
    for point in itertools.product(*(knob.range.values() for knob in experiment.knobs)):
        whole = dict(zip(paths, point, strict=True))
        values: dict[str, Any] = {}
        for knob in experiment.knobs:
            if knob.counts(values, plugins):
                values[knob.path] = whole[knob.path]
        key = tuple(values.items())
        if key not in seen:
            seen.add(key)
            yield values


def _suggest_value(trial: "Trial", name: str, knob: Knob) -> Any:
    match knob.range:
        case IntRange(bounds=bounds, step=step, log=log):
            return trial.suggest_int(name, *bounds, step=step, log=log)
        case FloatRange(bounds=bounds, step=step, log=log):
            return round(trial.suggest_float(name, *bounds, step=step, log=log), 9)  # 0.3, not 0.30000000000000004
        case Choice(choice=choice):
            return trial.suggest_categorical(name, choice)
