"""Which knobs mattered: how far the best trials' values differ from all, beside what chance alone would show."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.sweep.experiment import Experiment
from harness.sweep.optimizer.optimizer import Optimizer
from harness.sweep.trial import Trial

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

FEWEST = 6  # trials below which nothing is said
TOP = 5  # trials that count as the best, at least: fewer say more about themselves than about a knob
SHUFFLES = 100
CHANCE = 0.95


@dataclass(frozen=True, slots=True)
class Importance:
    """How much a knob mattered for being among the best trials."""

    path: str
    share: float  # of all knobs' importance
    chance: float  # the share that a knob without any effect stays below, 19 times of 20

    @property
    def beyond_chance(self) -> bool:
        """Whether it is more than chance."""
        return self.share > self.chance


def importances(experiment: Experiment, trials: Sequence[Trial]) -> list[Importance]:
    """Every knob, the weightiest first (PED-ANOVA on the first objective); none where there are too few trials to say anything.

    A pruned trial counts with its mean so far; one that crashed, or that lies outside the space, does not count.
    """
    import numpy as np

    inside = [trial for trial in trials if trial.values and trial.state != "failed"]
    known = replayed(experiment, inside).study.get_trials(deepcopy=False)
    if len(known) < FEWEST or len({trial.values[0] for trial in known}) == 1:
        return []
    scores = [float(trial.values[0]) for trial in known]
    divergences = _divergences(experiment, known, scores)
    total = sum(divergences.values())
    if total <= 0.0:
        return []
    draw = np.random.default_rng(experiment.seed)
    shuffled = [_divergences(experiment, known, [float(score) for score in draw.permutation(scores)]) for _ in range(SHUFFLES)]
    chance = {name: float(np.quantile([drawn[name] for drawn in shuffled], CHANCE)) for name in divergences}
    listed = [Importance(name, value / total, min(1.0, chance[name] / total)) for name, value in divergences.items()]
    return sorted(listed, key=lambda importance: (-importance.share, importance.path))


def replayed(experiment: Experiment, trials: Sequence[Trial]) -> Optimizer:
    """An optimizer that was told of these trials."""
    optimizer = Optimizer(experiment)
    for trial in trials:
        optimizer.replay(trial)
    return optimizer


def _divergences(experiment: Experiment, known: Sequence["FrozenTrial"], scores: Sequence[float]) -> dict[str, float]:
    """PED-ANOVA of a study with one objective, whose direction it therefore knows: with `target=` it would take low for good."""
    import optuna
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    higher = experiment.direction(experiment.goal) == "higher"
    study = optuna.create_study(direction="maximize" if higher else "minimize")
    study.add_trials(
        [
            optuna.trial.create_trial(params=trial.params, distributions=trial.distributions, value=score)
            for trial, score in zip(known, scores, strict=True)
        ]
    )
    top = min(0.5, max(0.1, TOP / len(known)))
    with warnings.catch_warnings():  # few trials of a conditional knob, and `normalize` being new
        warnings.simplefilter("ignore")
        divergences = get_param_importances(study, evaluator=PedAnovaImportanceEvaluator(target_quantile=top), normalize=False)
    return dict(sorted(divergences.items()))
