"""The search: trials on the tune split, several at a time, each kept as soon as it is finished."""

import asyncio
import contextlib
import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from harness.evaluation.evaluator import refuse_refused
from harness.evaluation.record import record_evaluation
from harness.golden.case import Case
from harness.golden.sets import HoldoutSplit, Split, TuneSplit
from harness.results.report import EvalReport, first_error
from harness.results.slim import bare
from harness.sweep.cost.budget import OverBudget
from harness.sweep.dispatcher import Dispatcher
from harness.sweep.experiment import Experiment
from harness.sweep.folder import SweepFolder
from harness.sweep.optimizer.optimizer import Optimizer, Suggestion
from harness.sweep.prune import Pruner, Reference
from harness.sweep.trial import Trial, make_trial, merge_reports, unscored_report
from harness.tracking.base import Run
from serving.pipeline.config import RagConfig
from serving.pipeline.errors import ConfigError, InfrastructureError, PromptError, RequestError, TouchstoneError


@dataclass(frozen=True, slots=True)
class StartingPoint:
    """A configuration that is tried before the search begins: the base, the champion."""

    label: str
    config: RagConfig
    values: Mapping[str, Any] | None  # at the space's knobs; none: it lies outside the space


Announce = Callable[[Trial], None]


class TimeOver(Exception):
    """The experiment's time is over, and a trial is not at its end."""


@dataclass
class Search:
    """An experiment with all it needs to run."""

    experiment: Experiment
    dispatcher: Dispatcher
    folder: SweepFolder
    run: Run
    announce: Announce = lambda make_trial: None
    earlier: Sequence[Trial] = ()  # finished by other processes
    ended: str = ""  # why the search stopped before its last trial

    def __post_init__(self) -> None:
        self.progress = self.dispatcher.progress
        self._optimizer = Optimizer(self.experiment)
        self._tried: dict[int, Trial] = {}
        self._asked: dict[int, RagConfig] = {}  # on their way
        self._cases: dict[str, Case] = {}
        higher = self.experiment.direction(self.experiment.goal) == "higher"
        self._higher = higher
        self._pruner = Pruner(self.experiment.pruner, self.experiment.goal, higher)

    async def search(self, tune: TuneSplit, firsts: Sequence[StartingPoint]) -> list[Trial]:
        """Run the trials that are missing; the firsts come first, and a configuration met twice is scored once."""
        cases = tune.head(self.experiment.cases)
        self._cases = {case.id: case for case in cases.cases}
        for one in self.earlier:
            self._note(one, replay=one.number >= len(firsts) or firsts[one.number].values is not None)
        self.earlier = ()
        self.progress.known = self.progress.done
        for number, first in enumerate(firsts):
            if number not in self._tried:
                found = await self._first(number, first, cases)
                self.folder.keep(found)
                self._note(found, replay=first.values is not None)
                self.announce(found)
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(max(1, self.dispatcher.engine.workers)):
                    group.create_task(self._work(cases))
        except* TouchstoneError as errors:
            raise errors.exceptions[0] from None
        return [self._tried[number] for number in sorted(self._tried)]

    async def prove(self, what: str, config: RagConfig, holdout: HoldoutSplit) -> tuple[EvalReport, str]:
        """Score a finalist on the holdout, in a child run."""
        report = await self.dispatcher.whole(config, holdout)
        with self.run.child(what) as run:
            record_evaluation(run, report, holdout)
        return report, run.id

    def front(self, trials: Sequence[Trial]) -> list[Trial]:
        """Of these, those that no other beats in every objective; with one objective all of them."""
        return self._optimizer.front(trials)

    async def _first(self, number: int, first: StartingPoint, cases: Split) -> Trial:
        """The trial of the base or the champion, which must succeed: everything else is held against it."""
        try:
            found = await self._try(number, first.values or {}, first.config, cases, first.label)
        except OverBudget:
            proof = (
                f", the proof on the holdout included (up to ${self.dispatcher.budget.reserve_usd:.4f})"
                if self.dispatcher.budget.reserve_usd
                else ""
            )
            budget = f"A budget of ${self.experiment.budget_usd:g} may not even pay for the {first.label}{proof}"
            raise ConfigError(f"{budget}; ${self.dispatcher.budget.spent_usd:.4f} are spent. Raise it, and --resume.") from None
        if found.state == "failed":
            first_of_all = f": {first_error(found.report)}" if found.objectives else ""
            raise InfrastructureError(f"The {first.label} could not be scored: {found.why}{first_of_all}")
        return found

    async def _work(self, cases: Split) -> None:
        """One trial after the other, until there are enough, or time or money ends."""
        while (number := self._next()) is not None:
            if self._late:
                self.ended = self._no_time
                return
            asked = self._ask(number)
            if asked is None:
                self.ended = self.ended or f"no configuration was found beside the {len(self._tried)} that were tried"
                return
            config = self.experiment.apply(asked.values)
            self._asked[number] = config
            try:
                found = await self._try(number, asked.values, config, cases, "")
            except OverBudget:
                self.ended = f"the next cases might not be paid for by the budget of ${self.experiment.budget_usd:g}"
                return
            except TimeOver:
                self.ended = self._no_time
                return
            finally:
                del self._asked[number]
            self.folder.keep(found)
            self._note(found, asked=asked)
            self.announce(found)

    @property
    def _late(self) -> bool:
        limit = self.experiment.timeout_s
        return limit is not None and time.monotonic() - self.progress.begun_s > limit

    @property
    def _no_time(self) -> str:
        return f"the time of {self.experiment.timeout_s:g} s was over"

    def _next(self) -> int | None:
        """The number of the next trial."""
        taken = self._tried.keys() | self._asked.keys()
        return next((number for number in range(self.experiment.trials) if number not in taken), None)

    def _ask(self, number: int) -> Suggestion | None:
        known = {config.model_dump_json() for config in [*(one.config for one in self._tried.values()), *self._asked.values()]}
        for attempt in itertools.count():
            asked = self._optimizer.ask(number, attempt)
            if asked is None:
                break
            with contextlib.suppress(ConfigError):  # values that do not go together, such as an overlap as large as the chunk
                if self.experiment.apply(asked.values).model_dump_json() not in known:
                    return asked
            self._optimizer.drop(asked)
        return None

    async def _try(self, number: int, values: Mapping[str, Any], config: RagConfig, cases: Split, label: str) -> Trial:
        """Score a configuration; what it cannot be scored for is its own end, not the sweep's, but for the base and the champion."""
        parts: list[EvalReport] = []
        why = broken = ""
        try:
            why = await self._in_blocks(parts, number, config, cases, label)
        except (RequestError, PromptError) as error:  # a prompt that is not there, more context than the model takes
            if label:
                raise
            broken = str(error)
        seen = replace(cases, cases=cases.cases[: sum(len(part.rows) for part in parts)])
        whole = merge_reports(parts, cases.name, seen.digest) if parts else unscored_report(self.experiment, config, seen)
        found = make_trial(self.experiment, number, values, config, whole, whole if label else self._tried[0].report, broken)
        if why and found.state == "complete":
            found = replace(found, state="pruned", why=why)
        with self.run.child(f"trial {number}" + (f" ({label})" if label else "")) as run:
            record_evaluation(run, whole, seen)
            run.tags({"touchstone.trial": str(number), "touchstone.state": found.state, "touchstone.why": found.why})
        return replace(found, label=label, run_id=run.id)

    async def _in_blocks(self, parts: list[EvalReport], number: int, config: RagConfig, cases: Split, label: str) -> str:
        """Add a report for each block of cases, until one shows that it is surely worse: then the reason, else nothing."""
        await self.dispatcher.index(config)
        reference, size = None if label else self._reference(), self.experiment.block
        for begin in range(0, len(cases.cases), size):
            if begin and self._late and not label:
                raise TimeOver
            parts.append(await self.dispatcher.block(config, replace(cases, cases=cases.cases[begin : begin + size]), f"trial {number}"))
            refuse_refused([row for part in parts for row in part.rows])
            last = begin + size >= len(cases.cases)
            if not last and (why := self._pruner.verdict(parts, reference)):
                return why
        return ""

    def _reference(self) -> Reference | None:
        """The finished trial that others are held against; none where several objectives count: a worse first one may be a cheaper one."""
        one = self._tried.get(0) if self.experiment.pruner.against == "base" else self._best()
        if one is None or len(self.experiment.objective) > 1:
            return None
        several = self.experiment.pruner.against == "best"
        usable = sum(other.usable for other in self._tried.values()) if several else 1
        return Reference(one.report, f"trial {one.name}", usable)

    def _best(self) -> Trial | None:
        sign = 1 if self._higher else -1
        usable = [one for one in self._tried.values() if one.usable]
        return max(usable, key=lambda one: (one.merit(sign), -one.number), default=None)

    def _note(self, one: Trial, *, asked: Suggestion | None = None, replay: bool = False) -> None:
        """Count a finished trial in, and tell the study: also of what it did not ask for in this process."""
        one = replace(one, report=bare(one.report, self._cases))
        if asked:
            self._optimizer.tell(asked, one)
        elif replay:
            self._optimizer.replay(one)
        self._tried[one.number] = one
        self.progress.done = len(self._tried)
        self.progress.best = self._best()
        self.dispatcher.tell(self.progress)
