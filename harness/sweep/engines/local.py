"""Trials on this machine: in this process, or in several that share the stage store."""

import asyncio
import signal
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection

from harness.golden.sets import Split
from harness.sweep.engines.base import ScoredBlock, StoreCounts, WorkerDied, WorkerPlan
from harness.sweep.engines.worker import Worker, WorkerLoop, end_with, failure_text, plan_text, read_scored, score_order
from harness.sweep.experiment import EngineChoice
from serving.pipeline.config import RagConfig
from serving.pipeline.errors import TouchstoneError

_plan = ""  # of a worker process: given when it starts,
_loop: WorkerLoop | None = None  # and what it makes of that at its first order; both live as long as the process


class LocalEngine:
    """One worker is this process itself; more are processes of their own."""

    def __init__(self, choice: EngineChoice, plan: WorkerPlan, worker: Worker) -> None:
        self.workers = choice.worker_count
        self._plan = plan
        self._worker = worker
        self._pool: ProcessPoolExecutor | None = None
        self._ends: tuple[Connection, ...] = ()  # of a pipe that nothing is sent through: workers end when it is closed
        self._building = asyncio.Lock()
        self._turn = asyncio.Semaphore(self.workers)  # with a worker go the cases it was at, and none that still wait for one

    async def start(self) -> None:
        """Start the workers; each loads its models when it gets its first cases."""
        if self.workers > 1:
            context = get_context("spawn")  # not forked: LanceDB's threads do not survive a fork
            self._ends = context.Pipe(duplex=False)
            given = (plan_text(self._plan), self._ends[0])
            self._pool = ProcessPoolExecutor(self.workers, mp_context=context, initializer=_begin, initargs=given)

    async def index(self, config: RagConfig) -> StoreCounts:
        """Build an index here, one at a time."""
        async with self._building:
            return await self._worker.index(config)

    async def score(self, config: RagConfig, cases: Split) -> ScoredBlock:
        """Score some cases; the death of a worker ends the whole pool, which is replaced."""
        if self._pool is None:
            return await self._worker.score(config, cases)
        text = score_order(config, cases)
        async with self._turn:
            pool = self._pool
            try:
                with _ctrl_c_blocked():
                    reply = asyncio.get_running_loop().run_in_executor(pool, _carry_out, text)
                return read_scored(await reply)
            except BrokenProcessPool:
                if pool is self._pool:  # the first to notice makes a new one
                    await self.stop()
                    await self.start()
                raise WorkerDied(f"Is there memory enough for {self.workers}?") from None

    async def stop(self) -> None:
        """End the workers, whatever they are at."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None
        for end in self._ends:
            end.close()
        self._ends = ()


@contextmanager
def _ctrl_c_blocked() -> Iterator[None]:
    """Processes begun in this block never receive Ctrl-C: the driver does, and ends them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin(plan: str, driver: Connection) -> None:
    global _plan
    end_with(driver)
    _plan = plan


def _carry_out(text: str) -> str:
    global _loop
    try:
        _loop = _loop or WorkerLoop(_plan)
    except TouchstoneError as error:
        return failure_text(error)
    return _loop.run(text)
