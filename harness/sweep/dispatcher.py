"""Sends cases to an engine: reserves their price before, settles it after, and treats an outage as an error, not as a score."""

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeVar

from harness.evaluation.stateful import is_stateful
from harness.golden.sets import Split
from harness.results.report import EvalReport, first_error
from harness.sweep.cost.budget import Budget, BudgetExceeded, stored_usd, unstored_cases
from harness.sweep.engines.base import Engine, PipelineNotBuilt, ScoredBlock, StoreCounts, WorkerDied
from harness.sweep.progress import SweepObserver, SweepProgress
from harness.sweep.trial import merge_reports
from serving.pipeline.config import RagConfig
from serving.pipeline.digest import digest_of
from serving.pipeline.errors import ConfigError, InfrastructureError, TouchstoneError

TRIES = 3  # for work whose worker died
_Done = TypeVar("_Done")


class Prices(Protocol):
    """The most that work on a configuration may cost."""

    def case_usd(self, config: RagConfig) -> float: ...

    def index_usd(self, config: RagConfig) -> float: ...


@dataclass(frozen=True, slots=True)
class FixedPrices:
    """The same for every configuration; nothing, where nothing is said."""

    case: float = 0.0
    index: float = 0.0

    def case_usd(self, config: RagConfig) -> float:
        """Of a case."""
        return self.case

    def index_usd(self, config: RagConfig) -> float:
        """Of an index."""
        return self.index


@dataclass
class Dispatcher:
    """Sends a sweep's configurations and cases to its engine."""

    engine: Engine
    prices: Prices
    budget: Budget
    progress: SweepProgress
    block: int  # cases sent at a time
    observer: SweepObserver = field(default_factory=SweepObserver)

    def blocks(self, config: RagConfig, cases: Split) -> list[Split]:
        """The cases as they are sent; of a stateful configuration all at once, since the order in which they are asked matters."""
        size = len(cases.cases) if is_stateful(config) else self.block
        return [replace(cases, cases=cases.cases[begin : begin + size]) for begin in range(0, len(cases.cases), size)]

    async def build_index(self, config: RagConfig) -> None:
        """Build an index; the vectors of a hosted model count at the most that they can cost."""
        self.progress.count(await self._with_tries(lambda: self._build_index(config), "index"))

    async def score_block(self, config: RagConfig, block: Split, what: str) -> EvalReport:
        """Score some cases; where the machinery failed one of them, that is an `InfrastructureError`."""
        scored = await self._with_tries(lambda: self._score(config, block), f"{len(block.cases)} cases")
        report = scored.report
        self.progress.cases += len(report.rows)
        self.progress.spent_usd = self.budget.spent_usd
        self.progress.count(scored.counts)
        self.observer.progressed(self.progress)
        if report.outages:
            count, rows = len(report.outages), len(report.rows)
            raise InfrastructureError(f"{what}: {count} of {rows} cases were not answered: {first_error(report)}")
        return report

    async def score_all(self, config: RagConfig, cases: Split) -> EvalReport:
        """Score a finalist on all cases, several blocks at a time."""
        self.budget.proof_usd = 0.0  # this is what it was kept for
        turn = asyncio.Semaphore(max(1, self.engine.workers))

        async def score(block: Split) -> EvalReport:
            async with turn:  # a worker has one block at a time, so that cases wait for each other no longer than in a trial
                return await self.score_block(config, block, "a finalist")

        try:
            await self.build_index(config)
            async with asyncio.TaskGroup() as group:
                parts = [group.create_task(score(block)) for block in self.blocks(config, cases)]
        except* (TouchstoneError, BudgetExceeded) as errors:
            first = next((error for error in errors.exceptions if isinstance(error, TouchstoneError)), None)
            limit = f"${self.budget.limit_usd:g}" if self.budget.limit_usd else "none"
            raise first or ConfigError(f"The budget of {limit} does not pay for the proof. Raise it, and --resume.") from None
        return merge_reports([part.result() for part in parts], cases.name, cases.digest)

    async def _with_tries(self, send: Callable[[], Awaitable[_Done]], what: str) -> _Done:
        """What comes of sent work; where a worker dies over it, it is sent again, and paid for again."""
        reason = ""
        for _ in range(TRIES):
            try:
                return await send()
            except WorkerDied as died:
                reason = str(died)
        raise InfrastructureError(f"A worker died {TRIES} times over the same {what}. {reason}")

    async def _build_index(self, config: RagConfig) -> StoreCounts:
        async with self.budget.index(config.digest("index"), self.prices.index_usd(config)):
            return await self.engine.index(config)

    async def _score(self, config: RagConfig, block: Split) -> ScoredBlock:
        case_usd = self.prices.case_usd(config)
        key = digest_of([config.model_dump(mode="json"), block.digest])
        reservation = await self.budget.reserve_cases(len(block.cases), case_usd, key)
        usd: float | None = None  # of a block that does not come back, nobody knows
        already_paid_usd, unstored_usd = 0.0, math.inf
        try:
            scored = await self.engine.score(config, block)
            usd = self.budget.block_usd(scored.report, scored.judge_usd, case_usd)
            already_paid_usd, unstored_usd = stored_usd(scored.report), unstored_cases(scored.report) * case_usd
        except PipelineNotBuilt as error:
            usd = 0.0
            raise error.reason from None
        except asyncio.CancelledError:
            self.budget.abandon(reservation)
            raise
        finally:
            if self.budget.holds(reservation):
                self.budget.settle(reservation, usd, stored_usd=already_paid_usd, unstored_usd=unstored_usd)
        return scored
