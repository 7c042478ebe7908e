"""The search: trials on the tune split, several at a time, each kept as soon as it is finished."""

import asyncio
import contextlib
import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from harness.evaluate import refuse_refused
from harness.golden.sets import HoldoutSplit, Split, TuneSplit
from harness.results import EvalReport, first_error
from harness.sweep.budget import OverBudget, Purse
from harness.sweep.engines.base import Engine
from harness.sweep.experiment import Experiment
from harness.sweep.folder import SweepFolder
from harness.sweep.optimizer import Asked, Optimizer
from harness.sweep.prune import Pruner, Reference
from harness.sweep.trial import Tried, merged, tried
from harness.tracking.base import Run
from harness.tracking.record import record_evaluation
from serving.pipeline.config import RagConfig
from serving.pipeline.errors import ConfigError, InfrastructureError, TouchstoneError


@dataclass(frozen=True, slots=True)
class First:
    """A configuration that is tried before the search begins: the base, the champion."""

    label: str
    config: RagConfig
    values: Mapping[str, Any] | None  # at the space's knobs; none: it lies outside the space


@dataclass
class Progress:
    """How far a sweep is; the command line shows it."""

    trials: int
    done: int = 0
    known: int = 0  # of these, finished by earlier processes
    cases: int = 0  # scored in this process
    best: Tried | None = None
    spent_usd: float = 0.0
    counts: dict[str, dict[str, int]] = field(default_factory=dict)  # of the stage store, by stage
    begun_s: float = field(default_factory=time.monotonic)

    def count(self, counts: Mapping[str, Mapping[str, int]]) -> None:
        """Add what a block found kept and what it had to compute."""
        for stage, numbers in counts.items():
            mine = self.counts.setdefault(stage, {"hits": 0, "misses": 0})
            for name, number in numbers.items():
                mine[name] += number


Tell = Callable[[Progress], None]
Announce = Callable[[Tried], None]


class Unscored(Exception):
    """A configuration has no value of an objective on any case."""


@dataclass
class Search:
    """An experiment with all it needs to run."""

    experiment: Experiment
    engine: Engine
    folder: SweepFolder
    run: Run
    purse: Purse
    tell: Tell = lambda progress: None
    announce: Announce = lambda tried: None
    ended: str = ""  # why the search stopped before its last trial

    def __post_init__(self) -> None:
        self.progress = Progress(self.experiment.trials)
        self._optimizer = Optimizer(self.experiment)
        self._tried: dict[int, Tried] = {}
        self._asked: dict[int, RagConfig] = {}  # on their way
        self._unscored: dict[int, RagConfig] = {}  # crashed on every case: there is no number to tell the study
        higher = self.experiment.direction(self.experiment.goal) == "higher"
        self._higher = higher
        self._pruner = Pruner(self.experiment.pruner, self.experiment.goal, higher)

    async def search(self, tune: TuneSplit, firsts: Sequence[First]) -> list[Tried]:
        """Run the trials that are missing; the firsts come first, and a configuration met twice is scored once."""
        cases = tune.head(self.experiment.cases)
        for one in self.folder.finished():
            self._note(one, replay=one.number >= len(firsts) or firsts[one.number].values is not None)
        self.progress.known = self.progress.done
        for number, first in enumerate(firsts):
            if number not in self._tried:
                found = await self._first(number, first, cases)
                self.folder.keep(found)
                self._note(found, replay=first.values is not None)
                self.announce(found)
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(max(1, self.engine.workers)):
                    group.create_task(self._work(cases))
        except* TouchstoneError as errors:
            raise errors.exceptions[0] from None
        if self._unscored and not self.ended:
            self.ended = f"trial {', '.join(map(str, self._unscored))} crashed on every case and has no score"
        return [self._tried[number] for number in sorted(self._tried)]

    async def prove(self, what: str, config: RagConfig, holdout: HoldoutSplit) -> tuple[EvalReport, str]:
        """Score a finalist on the holdout, in a child run."""
        report = await self._whole(config, holdout)
        with self.run.child(what) as run:
            record_evaluation(run, report, config, holdout)
        return report, run.id

    def front(self, trials: Sequence[Tried]) -> list[Tried]:
        """Of these, those that no other beats in every objective; with one objective all of them."""
        return self._optimizer.front(trials)

    async def _first(self, number: int, first: First, cases: Split) -> Tried:
        """The trial of the base or the champion, which must succeed: everything else is held against it."""
        try:
            found = await self._try(number, first.values or {}, first.config, cases, first.label)
        except OverBudget:
            proof = f", the proof on the holdout included (up to ${self.purse.reserve_usd:.4f})" if self.purse.reserve_usd else ""
            budget = f"A budget of ${self.experiment.budget_usd:g} may not even pay for the {first.label}{proof}"
            raise ConfigError(f"{budget}; ${self.purse.spent_usd:.4f} are spent. Raise it, and --resume.") from None
        except Unscored as error:
            raise InfrastructureError(f"The {first.label} could not be scored: {error}") from None
        if found.state == "failed":
            raise InfrastructureError(f"The {first.label} could not be scored: {found.why}: {first_error(found.report)}")
        return found

    async def _work(self, cases: Split) -> None:
        """One trial after the other, until there are enough, or time or money ends."""
        while (number := self._next()) is not None:
            if self.experiment.timeout_s and time.monotonic() - self.progress.begun_s > self.experiment.timeout_s:
                self.ended = f"the time of {self.experiment.timeout_s:g} s was over"
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
            except Unscored:
                self._unscored[number] = config
                self._optimizer.drop(asked)
                continue
            finally:
                del self._asked[number]
            self.folder.keep(found)
            self._optimizer.tell(asked, found)
            self._note(found, replay=False)
            self.announce(found)

    def _next(self) -> int | None:
        """The number of the next trial."""
        taken = self._tried.keys() | self._asked.keys() | self._unscored.keys()
        return next((number for number in range(self.experiment.trials) if number not in taken), None)

    def _ask(self, number: int) -> Asked | None:
        known = [*(one.config for one in self._tried.values()), *self._asked.values(), *self._unscored.values()]
        for attempt in itertools.count():
            asked = self._optimizer.ask(number, attempt)
            if asked is None:
                break
            with contextlib.suppress(ConfigError):  # values that do not go together, such as an overlap as large as the chunk
                if self.experiment.apply(asked.values) not in known:
                    return asked
            self._optimizer.drop(asked)
        return None

    async def _try(self, number: int, values: Mapping[str, Any], config: RagConfig, cases: Split, label: str) -> Tried:
        """Score a configuration block by block; it is given up when it is surely worse."""
        await self._index(config)
        parts: list[EvalReport] = []
        why, size = "", self.experiment.block
        reference = None if label else self._reference()
        for begin in range(0, len(cases.cases), size):
            block = replace(cases, cases=cases.cases[begin : begin + size])
            parts.append(await self._block(config, block, f"trial {number}"))
            refuse_refused([row for part in parts for row in part.rows])
            last = begin + size >= len(cases.cases)
            if not last and (why := self._pruner.verdict(parts, reference)):
                break
        seen = replace(cases, cases=cases.cases[: sum(len(part.rows) for part in parts)])
        whole = merged(parts, cases.name, seen.digest)
        found = tried(self.experiment, number, values, config, whole, whole if label else self._tried[0].report)
        if found is None:
            error = Unscored(f"no case has a value of every objective: {first_error(whole)}")
            with self.run.child(f"trial {number} (no score)") as run:
                record_evaluation(run, whole, config, seen)
                run.tags({"touchstone.trial": str(number), "touchstone.state": "failed", "touchstone.why": str(error)})
            raise error
        found = replace(found, label=label)
        if why and found.state == "complete":
            found = replace(found, state="pruned", why=why)
        with self.run.child(f"trial {number}" + (f" ({label})" if label else "")) as run:
            record_evaluation(run, found.report, config, seen)
            run.tags({"touchstone.trial": str(number), "touchstone.state": found.state, "touchstone.why": found.why})
        return replace(found, run_id=run.id)

    async def _whole(self, config: RagConfig, cases: Split) -> EvalReport:
        self.purse.reserve_usd = 0.0  # this is what it was kept for
        await self._index(config)
        step = self.experiment.block
        blocks = [replace(cases, cases=cases.cases[begin : begin + step]) for begin in range(0, len(cases.cases), step)]
        try:
            async with asyncio.TaskGroup() as group:
                parts = [group.create_task(self._block(config, block, "a finalist")) for block in blocks]
        except* TouchstoneError as errors:
            raise errors.exceptions[0] from None
        except* OverBudget:
            raise ConfigError(
                f"The budget of ${self.experiment.budget_usd:g} does not pay for the proof. Raise it, and --resume."
            ) from None
        return merged([part.result() for part in parts], cases.name, cases.digest)

    async def _block(self, config: RagConfig, block: Split, what: str) -> EvalReport:
        sent = await self.purse.send(len(block.cases))
        usd: float | None = None  # of a block that does not come back, nobody knows
        try:
            scored = await self.engine.score(config, block)
            report = scored.report
            usd = self.purse.cost(report, scored.judge_usd)
        finally:
            self.purse.back(sent, usd)
        self.progress.cases += len(report.rows)
        self.progress.spent_usd = self.purse.spent_usd
        self.progress.count(scored.counts)
        self.tell(self.progress)
        if report.outages:
            count, rows = len(report.outages), len(report.rows)
            raise InfrastructureError(f"{what}: {count} of {rows} cases were not answered: {first_error(report)}")
        return report

    async def _index(self, config: RagConfig) -> None:
        """Build an index; vectors of a hosted model are counted at the most that they can cost."""
        key = config.digest("index")
        if not self.purse.owes(key):
            await self.engine.index(config)
            return
        sent = await self.purse.send_index(key)
        try:
            await self.engine.index(config)
        finally:
            self.purse.back(sent, None)

    def _reference(self) -> Reference | None:
        """The finished trial that others are held against; none where several objectives count: a worse first one may be a cheaper one."""
        one = self._tried.get(0) if self.experiment.pruner.against == "base" else self._best()
        if one is None or len(self.experiment.objective) > 1:
            return None
        several = self.experiment.pruner.against == "best"
        usable = sum(other.usable for other in self._tried.values()) if several else 1
        return Reference(one.report, f"trial {one.name}", usable)

    def _best(self) -> Tried | None:
        sign = 1 if self._higher else -1
        usable = [one for one in self._tried.values() if one.usable]
        return max(usable, key=lambda one: (sign * one.objective, -one.number), default=None)

    def _note(self, one: Tried, *, replay: bool) -> None:
        """Count a finished trial in; the study is told of those that it did not ask for in this process."""
        if replay:
            self._optimizer.replay(one)
        self._tried[one.number] = one
        self.progress.done = len(self._tried)
        self.progress.best = self._best()
        self.tell(self.progress)
