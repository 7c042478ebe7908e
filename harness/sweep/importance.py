"""Which knobs mattered: how much of the differences between trials each one's values explain alone, beside what chance would show."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.metrics import METRICS
from harness.sweep.experiment import Experiment
from harness.sweep.optimizer.optimizer import Optimizer
from harness.sweep.trial import Trial

FEWEST = 6  # trials below which nothing is said
GROUPS = 4  # that the values of a number are cut into, where it has more than MOST of them
MOST = 6
SHUFFLES = 1000
CHANCE = 0.95

Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Importance:
    """How much a knob mattered for what the trials scored."""

    path: str
    share: float  # of all knobs' importance
    chance: float  # the share that a knob without any effect stays below, 19 times of 20

    @property
    def beyond_chance(self) -> bool:
        """Whether it is more than chance."""
        return self.share > self.chance


def importances(experiment: Experiment, trials: Sequence[Trial]) -> list[Importance]:
    """Every knob, the weightiest first, by the first objective (analysis of variance); none where there are too few trials to say anything.

    A pruned trial counts with its mean so far, one that failed with the worst there is; one that lies outside the space does not count.
    """
    inside = [trial for trial in trials if trial.values]
    scores = _scores(experiment, inside)
    if len(scores) < FEWEST or float(np.ptp(scores)) == 0.0:
        return []
    draw = np.random.default_rng(experiment.seed)
    shuffled = np.stack([scores, *(draw.permutation(scores) for _ in range(SHUFFLES))], axis=1)
    explained = {knob.path: _explained([trial.values.get(knob.path) for trial in inside], shuffled) for knob in experiment.knobs}
    # what chance alone explains on average grows with the number of a knob's values, and is nobody's importance
    beyond = {path: found - found[1:].mean() for path, found in explained.items()}
    total = sum(max(0.0, float(found[0])) for found in beyond.values())
    if total <= 0.0:
        return []
    listed = [
        Importance(path, max(0.0, float(found[0])) / total, min(1.0, float(np.quantile(found[1:], CHANCE)) / total))
        for path, found in beyond.items()
    ]
    return sorted(listed, key=lambda importance: (-importance.share, importance.path))


def replayed_optimizer(experiment: Experiment, trials: Sequence[Trial]) -> Optimizer:
    """An optimizer that knows these trials, as if it had run them."""
    optimizer = Optimizer(experiment)
    for trial in trials:
        optimizer.replay(trial)
    return optimizer


def _scores(experiment: Experiment, trials: Sequence[Trial]) -> Numbers:
    """The first objective of every trial; of one that failed, the worst that the metric knows or that any trial reached."""
    known = [trial.objective for trial in trials if trial.state != "failed" and trial.objective is not None]
    if not known:
        return np.empty(0)
    higher = experiment.direction(experiment.goal) == "higher"
    name = experiment.goal.partition("@")[0]
    ends: tuple[float, float] = getattr(METRICS.load(name), "range", (0.0, math.inf)) if METRICS.knows(name) else (0.0, math.inf)
    end = ends[0 if higher else 1]
    reached = min(known) if higher else max(known)
    worst = end if math.isfinite(end) else reached
    return np.array([worst if trial.state == "failed" or trial.objective is None else trial.objective for trial in trials])


def _explained(values: Sequence[Any], scores: Numbers) -> Numbers:
    """The sum of squares between the groups of a knob's values, over the trials that have one, for each column of scores."""
    held = [place for place, value in enumerate(values) if value is not None]
    if not held:  # a knob of a plug-in that no trial had
        return np.zeros(scores.shape[1])
    groups = _groups([values[place] for place in held])
    some = scores[held]
    members = np.array([[group == one for group in groups] for one in sorted(set(groups))], dtype=np.float64).reshape(-1, len(held))
    sums = members @ (some - some.mean(axis=0))
    squares: Numbers = (sums**2 / members.sum(axis=1, keepdims=True)).sum(axis=0)
    return squares


def _groups(values: Sequence[Any]) -> list[int]:
    """The group of each value: one for each, but numbers of which there are many are cut into some of like size."""
    distinct = sorted({repr(value) for value in values})
    numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    if not numeric or len(distinct) <= MOST:
        return [distinct.index(repr(value)) for value in values]
    cuts = np.quantile(np.array(values, dtype=np.float64), [part / GROUPS for part in range(1, GROUPS)])
    return [int(place) for place in np.searchsorted(cuts, np.array(values, dtype=np.float64), side="left")]
