"""Steps: the values of a good trial with one knob turned."""

import math
import random
from collections.abc import Mapping
from typing import Any

from harness.sweep.experiment import Experiment
from harness.sweep.space.ranges import Choice, FloatRange, IntRange, Range


def neighbour(experiment: Experiment, origin: Mapping[str, Any], chance: random.Random) -> dict[str, Any]:
    """Other values in one knob, and in what begins to count with it; all else stays."""
    plugins = experiment.config.plugins()
    turned = chance.choice([knob.path for knob in experiment.knobs if knob.path in origin])
    values: dict[str, Any] = {}
    for knob in experiment.knobs:
        if not knob.counts(values, plugins):
            continue
        stays = knob.path in origin and knob.path != turned
        values[knob.path] = origin[knob.path] if stays else drawn(knob.range, chance, but=origin.get(knob.path))
    return values


def drawn(of: Range, chance: random.Random, *, but: Any = None) -> Any:
    """A value of a range, another than this one where there is another."""
    if isinstance(of, Choice):
        others = [value for value in of.choice if value != but]
        return chance.choice(others) if others else but
    for _ in range(100):  # a range of one number has no other
        value = _number(of, chance)
        if value != but:
            return value
    return but


def _number(of: IntRange | FloatRange, chance: random.Random) -> int | float:
    low, high = of.bounds
    if of.step is not None and not of.log:
        value = low + chance.randrange(math.floor((high - low) / of.step + 1e-9) + 1) * of.step
        return value if isinstance(of, IntRange) else round(value, 9)
    if not of.log:
        return round(chance.uniform(low, high), 9)
    value = math.exp(chance.uniform(math.log(low), math.log(high)))
    return min(high, max(low, round(value))) if isinstance(of, IntRange) else min(high, max(low, round(value, 9)))
