"""The search: trials on the tune split, several at a time, each stored as soon as it is finished."""

import asyncio
import contextlib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from harness.golden.case import Case
from harness.golden.sets import TuneSplit
from harness.results.report import EvalReport, first_error
from harness.results.slim import slim_for_search
from harness.sweep.cost.budget import BudgetExceeded
from harness.sweep.dispatcher import Dispatcher
from harness.sweep.experiment import Experiment
from harness.sweep.folder import SweepFolder
from harness.sweep.optimizer.optimizer import Optimizer, Suggestion
from harness.sweep.prune import Reference
from harness.sweep.run_trial import TimeLimitReached, TrialRunner, TrialStart
from harness.sweep.space.suggest import values_of
from harness.sweep.trial import Trial
from harness.tracking.base import Run
from serving.pipeline.config import RagConfig
from serving.pipeline.errors import ConfigError, InfrastructureError, TouchstoneError


@dataclass(frozen=True, slots=True)
class StartingPoint:
    """A configuration that is tried before the search begins: the base, the champion."""

    label: str
    config: RagConfig
    values: Mapping[str, Any] | None  # at the space's knobs; none: it lies outside the space


def starting_points(experiment: Experiment, champion: RagConfig | None) -> list[StartingPoint]:
    """The configurations tried before the search: the base, and the champion where it differs."""
    base = StartingPoint("base", experiment.config, values_of(experiment, experiment.config))
    if champion is None or champion == experiment.config:
        return [base]
    return [base, StartingPoint("champion", champion, values_of(experiment, champion))]


@dataclass
class Search:
    """An experiment with all it needs to run its trials."""

    experiment: Experiment
    dispatcher: Dispatcher
    folder: SweepFolder
    run: Run
    earlier: Sequence[Trial] = ()  # finished by other processes
    ended: str = ""  # why the search stopped before its last trial

    def __post_init__(self) -> None:
        self.progress, self.observer = self.dispatcher.progress, self.dispatcher.observer
        self._optimizer = Optimizer(self.experiment)
        self._trials: dict[int, Trial] = {}  # finished
        self._running: dict[int, RagConfig] = {}
        self._cases: dict[str, Case] = {}
        self._sign = 1.0 if self.experiment.direction(self.experiment.goal) == "higher" else -1.0

    async def search(self, tune: TuneSplit, starts: Sequence[StartingPoint]) -> list[Trial]:
        """Run the trials that are missing; starting points come first, and a configuration met twice is scored once."""
        cases = tune.head(self.experiment.cases)
        self._cases = {case.id: case for case in cases.cases}
        runner = TrialRunner(self.experiment, self.dispatcher, self.run, cases)
        for trial in self.earlier:
            self._add(trial, replay=trial.number >= len(starts) or starts[trial.number].values is not None)
        self.earlier = ()
        self.progress.resumed = self.progress.done
        for number, start in enumerate(starts):
            if number not in self._trials:
                trial = await self._run_start(runner, number, start)
                self._store_trial(trial, replay=start.values is not None)
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(max(1, self.dispatcher.engine.workers)):
                    group.create_task(self._run_trials(runner))
        except* TouchstoneError as errors:
            raise errors.exceptions[0] from None
        return [self._trials[number] for number in sorted(self._trials)]

    def undominated(self, trials: Sequence[Trial]) -> list[Trial]:
        """Of these, those that no other beats in every objective; with one objective all of them."""
        return self._optimizer.undominated(trials)

    async def _run_start(self, runner: TrialRunner, number: int, start: StartingPoint) -> Trial:
        """The trial of the base or the champion, which must succeed: everything else is compared with it."""
        try:
            trial = await runner.run_trial(TrialStart(number, start.config, start.values or {}, start.label))
        except BudgetExceeded:
            budget = self.dispatcher.budget
            proof = f", the proof on the holdout included (up to ${budget.proof_usd:.4f})" if budget.proof_usd else ""
            limit = f"A budget of ${self.experiment.budget_usd:g} may not even pay for the {start.label}{proof}"
            raise ConfigError(f"{limit}; ${budget.spent_usd:.4f} are spent. Raise it, and --resume.") from None
        if trial.state == "failed":
            example = f": {first_error(trial.report)}" if trial.objectives else ""
            raise InfrastructureError(f"The {start.label} could not be scored: {trial.why}{example}")
        return trial

    async def _run_trials(self, runner: TrialRunner) -> None:
        """Run one trial after the other until there are enough, or time or budget ends; one such loop for each worker."""
        while (number := self._next_number()) is not None:
            if runner.out_of_time:
                self.ended = self._out_of_time_text
                return
            suggestion = self._suggest(number)
            if suggestion is None:
                self.ended = self.ended or f"no configuration was found beside the {len(self._trials)} that were tried"
                return
            config = self.experiment.apply(suggestion.values)
            self._running[number] = config
            try:
                trial = await runner.run_trial(TrialStart(number, config, suggestion.values), self._trials[0].report, self._reference())
            except BudgetExceeded:
                self.ended = f"the next cases might not be paid for by the budget of ${self.experiment.budget_usd:g}"
                return
            except TimeLimitReached:
                self.ended = self._out_of_time_text
                return
            finally:
                del self._running[number]
            self._store_trial(trial, suggestion)

    @property
    def _out_of_time_text(self) -> str:
        return f"the time of {self.experiment.timeout_s:g} s was over"

    def _next_number(self) -> int | None:
        taken = self._trials.keys() | self._running.keys()
        return next((number for number in range(self.experiment.trials) if number not in taken), None)

    def _suggest(self, number: int) -> Suggestion | None:
        """Values of a configuration that was not tried yet; `None` where there is none."""
        known = {config.model_dump_json() for config in [*(trial.config for trial in self._trials.values()), *self._running.values()]}
        for attempt in itertools.count():
            suggestion = self._optimizer.ask(number, attempt)
            if suggestion is None:
                break
            with contextlib.suppress(ConfigError):  # values that do not go together, such as an overlap as large as the chunk
                if self.experiment.apply(suggestion.values).model_dump_json() not in known:
                    return suggestion
            self._optimizer.drop(suggestion)
        return None

    def _reference(self) -> Reference | None:
        """The finished trial that others are compared with; none where several objectives count: a worse first one may be a cheaper one."""
        against = self.experiment.pruner.against
        trial = self._trials.get(0) if against == "base" else self._best()
        if trial is None or len(self.experiment.objective) > 1:
            return None
        if against == "base":  # decisions then depend on nothing but trial 0
            return Reference(trial.report, f"trial {trial.name}")
        usable = sum(other.usable for other in self._trials.values())
        return Reference(trial.report, f"trial {trial.name}", usable, self._forecasting(trial))

    def _forecasting(self, best: Trial) -> tuple[EvalReport, ...]:
        """The reports of all other trials that completed, where a race forecasts by them."""
        if self.experiment.pruner.name != "race":
            return ()
        return tuple(trial.report for _, trial in sorted(self._trials.items()) if trial.state == "complete" and trial is not best)

    def _best(self) -> Trial | None:
        usable = [trial for trial in self._trials.values() if trial.usable]
        return max(usable, key=lambda trial: (trial.merit(self._sign), -trial.number), default=None)

    def _store_trial(self, trial: Trial, suggestion: Suggestion | None = None, *, replay: bool = False) -> None:
        """Store a finished trial, and report it to the study and the observer."""
        self.folder.write_trial(trial)
        self._add(trial, suggestion, replay=replay)
        self.observer.trial_finished(trial)

    def _add(self, trial: Trial, suggestion: Suggestion | None = None, *, replay: bool = False) -> None:
        """Add a finished trial, and report it to the study, also one that it did not suggest in this process."""
        trial = replace(trial, report=slim_for_search(trial.report, self._cases))
        if suggestion:
            self._optimizer.tell(suggestion, trial)
        elif replay:
            self._optimizer.replay(trial)
        self._trials[trial.number] = trial
        self.progress.done = len(self._trials)
        self.progress.best = self._best()
        self.observer.progressed(self.progress)
