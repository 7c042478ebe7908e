"""Suggests trials by an Optuna study (ask and tell), which each process rebuilds from the finished trials."""

import random
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from harness.sweep.experiment import Experiment
from harness.sweep.optimizer.local_search import neighbour
from harness.sweep.optimizer.pareto import undominated
from harness.sweep.space.suggest import grid, study_values, suggest
from harness.sweep.trial import Trial
from serving.pipeline.digest import digest_of
from serving.pipeline.errors import ConfigError

if TYPE_CHECKING:
    import optuna

ATTEMPTS = 100  # times that one trial's values may be found to be known already
SAMPLER_ATTEMPTS = 10  # of these, by the sampler; then values are drawn at random: a small space is soon searched where it likes to look
STEPS = 0.5  # share of trials that are steps of a local search, by the default sampler
ORIGINS = 3  # trials that a step may begin at: of the best alone all steps may soon be known


@dataclass(frozen=True, slots=True)
class Suggestion:
    """Values that the study would like to have tried next, and its own trial of them."""

    values: Mapping[str, Any]
    trial: "optuna.trial.Trial"


class Optimizer:
    """Suggests values; the same experiment and the same earlier trials lead to the same suggestion, in whatever process."""

    def __init__(self, experiment: Experiment) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._experiment = experiment
        directions: list[Literal["maximize", "minimize"]] = [
            "maximize" if experiment.direction(name) == "higher" else "minimize" for name in experiment.objective
        ]
        self.study = optuna.create_study(study_name=experiment.name, directions=directions)
        self._usable: list[Trial] = []  # of the trials told
        self._races = experiment.pruner.name == "race"
        self._given_up = 0  # of the trials told, by a race
        self._startup = min(10, max(3, experiment.trials // 4))

    def replay(self, trial: Trial) -> None:
        """Tell the study of a trial that it did not suggest, or that it suggested in another process."""
        self.tell(self._begin(trial.number, trial.values), trial)

    def ask(self, number: int, attempt: int = 0) -> Suggestion | None:
        """Values for the trial of this number; `None` when there are no others."""
        if self._experiment.sampler == "grid":
            point = next(self._points, None)
            return None if point is None else self._begin(number, point)
        if attempt >= ATTEMPTS:
            return None
        return self._begin(number, self._local_step(number, attempt) or self._sampled(number, attempt))

    def _sampled(self, number: int, attempt: int) -> dict[str, Any]:
        self.study.sampler = self._sampler(number, attempt)
        trial = self.study.ask()
        values = suggest(trial, self._experiment)
        self._fail(trial)
        return values

    def _local_step(self, number: int, attempt: int) -> dict[str, Any]:
        """A step from one of the best trials; empty where it is the sampler's turn."""
        if self._experiment.sampler != "mixed" or attempt >= SAMPLER_ATTEMPTS or len(self._usable) + self._given_up < self._startup:
            return {}
        chance = random.Random(self._seed(number, attempt))  # noqa: S311 — an order, not a secret
        if chance.random() >= STEPS:
            return {}
        sign = 1.0 if self._experiment.direction(self._experiment.goal) == "higher" else -1.0
        best = sorted(self.undominated(self._usable), key=lambda trial: (-trial.merit(sign), trial.number))
        origin = chance.choice(best[:ORIGINS] if len(self._experiment.objective) == 1 else best)
        return neighbour(self._experiment, origin.values, chance)

    def _begin(self, number: int, values: Mapping[str, Any]) -> Suggestion:
        """A trial of just these values: the study must know them as the folder does, to the last bit, to go on alike from either."""
        self.study.sampler = self._sampler(number, 0)
        self.study.enqueue_trial(study_values(self._experiment, values))
        trial = self.study.ask()
        if self._experiment.sampler == "nsga2":
            _ = trial.relative_params  # a trial joins a generation when its sampler is asked, and given values ask no sampler
        suggest(trial, self._experiment)
        return Suggestion(values, trial)

    def tell(self, suggestion: Suggestion, trial: Trial) -> None:
        """What a trial came to; a pruned one counts by its mean so far, or in a race by where that leads, and is never the best."""
        if trial.state == "failed":  # a mean over the cases that it survived would flatter it
            self._fail(suggestion.trial)
            return
        for name, far in trial.violations.items():
            suggestion.trial.set_constraint(name, far)
        suggestion.trial.set_constraint("given_up", 1.0 if trial.state == "pruned" else 0.0)
        if trial.usable:
            self._usable.append(trial)
        if self._races and trial.state == "pruned":
            self._given_up += 1
            self.study.tell(suggestion.trial, [self._projected(trial), *trial.objectives[1:]])
            return
        self.study.tell(suggestion.trial, list(trial.objectives))

    def _projected(self, trial: Trial) -> float:
        """A mean over few cases as one over all: by as much below the best trial's as on the cases that both saw.

        A race ends most trials early, at different cases, some of which are hard for all: means over them would teach the study the cases.
        """
        sign = 1.0 if self._experiment.direction(self._experiment.goal) == "higher" else -1.0
        best = max(self._usable, key=lambda other: (other.merit(sign), -other.number), default=None)
        if best is None or best.objective is None:
            return trial.objectives[0]
        known = {row.case.id: row.value(self._experiment.goal) for row in best.report.rows}
        pairs = [(row.value(self._experiment.goal), known.get(row.case.id)) for row in trial.report.rows]
        differences = [own - other for own, other in pairs if own is not None and other is not None]
        return best.objective + sum(differences) / len(differences) if differences else trial.objectives[0]

    def drop(self, suggestion: Suggestion) -> None:
        """Forget a suggestion that is known already."""
        self._fail(suggestion.trial)

    def undominated(self, trials: Sequence[Trial]) -> list[Trial]:
        """Of usable trials, those that no other beats in every objective; for one objective simply all."""
        signs = [1.0 if self._experiment.direction(name) == "higher" else -1.0 for name in self._experiment.objective]
        points = [[sign * value for sign, value in zip(signs, trial.objectives, strict=True)] for trial in trials]
        if len(signs) == 1:
            return list(trials)
        return [trials[place] for place in undominated(points)]

    def _fail(self, trial: "optuna.trial.Trial") -> None:
        from optuna.trial import TrialState

        self.study.tell(trial, state=TrialState.FAIL)

    @cached_property
    def _points(self) -> Iterator[dict[str, Any]]:
        """The grid's points that were not asked for in this process; those that earlier ones tried are dropped as known."""
        return iter(grid(self._experiment))

    def _seed(self, number: int, attempt: int) -> int:
        return int(digest_of([self._experiment.seed, number, attempt])[:8], 16)

    def _sampler(self, number: int, attempt: int) -> "optuna.samplers.BaseSampler":
        """A sampler of its own for each trial: its chance depends on nothing but the seed and the trial's number."""
        from optuna import samplers
        from optuna.exceptions import ExperimentalWarning

        seed = self._seed(number, attempt)
        match self._experiment.sampler if attempt < SAMPLER_ATTEMPTS else "random":
            case "random" | "grid":
                return samplers.RandomSampler(seed=seed)
            case "nsga2":
                few = max(4, min(50, self._experiment.trials // 5))  # with Optuna's own 50 a short search would never leave chance
                return samplers.NSGAIISampler(seed=seed, population_size=few)
            case "gp":
                try:
                    return samplers.GPSampler(seed=seed)
                except ImportError:
                    raise ConfigError("Sampler 'gp' needs torch, which is not installed. Use 'tpe', or run: uv pip install torch") from None
        with warnings.catch_warnings():  # "group" lets conditional knobs take part; Optuna calls it experimental each time
            warnings.simplefilter("ignore", ExperimentalWarning)
            return samplers.TPESampler(seed=seed, multivariate=True, group=True, n_startup_trials=self._startup)
