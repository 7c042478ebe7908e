"""Local search: the values of a good trial with one knob turned."""

import random
from collections.abc import Mapping
from typing import Any

from harness.sweep.experiment import Experiment
from harness.sweep.space.ranges import draw_value


def neighbour(experiment: Experiment, origin: Mapping[str, Any], chance: random.Random) -> dict[str, Any]:
    """Other values in one knob, and in what begins to count with it; all else stays."""
    plugins = experiment.config.plugins()
    turned = chance.choice([knob.path for knob in experiment.knobs if knob.path in origin])
    values: dict[str, Any] = {}
    for knob in experiment.knobs:
        if not knob.counts(values, plugins):
            continue
        stays = knob.path in origin and knob.path != turned
        values[knob.path] = origin[knob.path] if stays else draw_value(knob.range, chance, but=origin.get(knob.path))
    return values
