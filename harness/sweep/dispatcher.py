"""Work sent to an engine: paid for before, counted after, and an outage is no score."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from harness.golden.sets import Split
from harness.results.report import EvalReport, first_error
from harness.sweep.cost.budget import Budget, OverBudget
from harness.sweep.engines.base import Counted, Engine, NotBegun, Scored, WorkerDied
from harness.sweep.progress import Progress, Tell
from harness.sweep.trial import merge_reports
from serving.pipeline.config import RagConfig
from serving.pipeline.errors import ConfigError, InfrastructureError, TouchstoneError

TRIES = 3  # for work whose worker died
_Done = TypeVar("_Done")


@dataclass
class Dispatcher:
    """Sends a sweep's configurations and cases to its engine."""

    engine: Engine
    budget: Budget
    progress: Progress
    size: int  # cases in a block
    tell: Tell = lambda progress: None

    async def index(self, config: RagConfig) -> None:
        """Build an index; vectors of a hosted model are counted at the most that they can cost."""
        self.progress.count(await self._again(lambda: self._index(config), "index"))

    async def block(self, config: RagConfig, block: Split, what: str) -> EvalReport:
        """Score some cases; where the machinery failed one of them, that is an `InfrastructureError`."""
        scored = await self._again(lambda: self._score(config, block), f"{len(block.cases)} cases")
        report = scored.report
        self.progress.cases += len(report.rows)
        self.progress.spent_usd = self.budget.spent_usd
        self.progress.count(scored.counts)
        self.tell(self.progress)
        if report.outages:
            count, rows = len(report.outages), len(report.rows)
            raise InfrastructureError(f"{what}: {count} of {rows} cases were not answered: {first_error(report)}")
        return report

    async def whole(self, config: RagConfig, cases: Split) -> EvalReport:
        """Score a finalist on all cases, several blocks at a time."""
        self.budget.reserve_usd = 0.0  # this is what it was kept for
        step, turn = self.size, asyncio.Semaphore(max(1, self.engine.workers))
        blocks = [replace(cases, cases=cases.cases[begin : begin + step]) for begin in range(0, len(cases.cases), step)]

        async def one(block: Split) -> EvalReport:
            async with turn:  # a worker has one block at a time, so that cases wait for each other no longer than in a trial
                return await self.block(config, block, "a finalist")

        try:
            await self.index(config)
            async with asyncio.TaskGroup() as group:
                parts = [group.create_task(one(block)) for block in blocks]
        except* (TouchstoneError, OverBudget) as errors:
            told = next((error for error in errors.exceptions if isinstance(error, TouchstoneError)), None)
            limit = f"${self.budget.limit_usd:g}" if self.budget.limit_usd else "none"
            raise told or ConfigError(f"The budget of {limit} does not pay for the proof. Raise it, and --resume.") from None
        return merge_reports([part.result() for part in parts], cases.name, cases.digest)

    async def _again(self, send: Callable[[], Awaitable[_Done]], what: str) -> _Done:
        """What comes of sent work; where a worker dies over it, it is sent again, and paid for again."""
        due = ""
        for _ in range(TRIES):
            try:
                return await send()
            except WorkerDied as died:
                due = str(died)
        raise InfrastructureError(f"A worker died {TRIES} times over the same {what}. {due}")

    async def _index(self, config: RagConfig) -> Counted:
        key = config.digest("index")
        sent, built = await self.budget.send_index(key), False
        try:
            counts = await self.engine.index(config)
            built = True
        finally:
            if sent:
                self.budget.index_back(key, sent, built=built)
        return counts

    async def _score(self, config: RagConfig, block: Split) -> Scored:
        sent = await self.budget.send(len(block.cases))
        usd: float | None = None  # of a block that does not come back, nobody knows
        try:
            scored = await self.engine.score(config, block)
            usd = self.budget.cost(scored.report, scored.judge_usd)
        except NotBegun as error:
            usd = 0.0
            raise error.why from None
        finally:
            self.budget.back(sent, usd)
        return scored
