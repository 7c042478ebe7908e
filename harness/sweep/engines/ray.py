"""Trials on a Ray cluster: an existing one, or one of its own on this machine.

The study, the folder and MLflow stay with the driver. A worker is an actor that gets its orders and answers in plain text,
as a worker process of the local engine does; a trial's cases go to whichever is free, an index is built by one of them.
"""

import asyncio
import contextlib
from dataclasses import replace
from typing import Any

from harness.golden.sets import Split
from harness.ray import RayConnection
from harness.settings import HarnessSettings
from harness.sweep.engines.base import ScoredBlock, StoreCounts, WorkerDied, WorkerPlan
from harness.sweep.engines.worker import Worker, WorkerLoop, failure_text, index_order, plan_text, read_indexed, read_scored, score_order
from harness.sweep.experiment import EngineChoice
from serving.pipeline.config import RagConfig
from serving.pipeline.errors import InfrastructureError, TouchstoneError

# Ray reads its environment when it is imported; harness.ray sets it before.
# isort: split
import ray
from ray.exceptions import RayActorError, RayError, RayTaskError

START_TIMEOUT_S = 300.0  # for the first worker; a cluster that grows on demand takes its time


class RayEngine:
    """Workers are actors, one core each; one that dies is replaced."""

    def __init__(self, choice: EngineChoice, plan: WorkerPlan, worker: Worker) -> None:
        settings = worker.factory.settings
        self._ray = RayConnection(choice.address or (settings.ray_address if isinstance(settings, HarnessSettings) else ""))
        self.workers = choice.worker_count
        self._wanted = choice.workers
        self._plan = plan
        self._idle: asyncio.Queue[Any] = asyncio.Queue()
        self._workers: set[Any] = set()
        self._starting: set[asyncio.Task[None]] = set()
        self._built: dict[str, asyncio.Task[StoreCounts]] = {}

    async def start(self) -> None:
        """Connect, and wait for the first worker; the others join as the cluster finds room for them."""
        cores = await asyncio.to_thread(self._ray.open, self.workers)
        if cores and not self._wanted:
            self.workers = cores
        for _ in range(self.workers):
            self._start_worker()
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                self._idle.put_nowait(await self._idle.get())
        except TimeoutError:
            await self.stop()
            late = f"gave no worker within {START_TIMEOUT_S:g} s. Has it a free core? See: ray status"
            raise InfrastructureError(f"{self._ray.where} {late}") from None

    async def index(self, config: RagConfig) -> StoreCounts:
        """Let a worker build an index, once; it is counted for the trial that came first."""
        key = config.digest("index")
        first = key not in self._built
        if first:
            self._built[key] = asyncio.create_task(self._build(config))
        counts = await asyncio.shield(self._built[key])
        return counts if first else {}

    async def score(self, config: RagConfig, cases: Split) -> ScoredBlock:
        """Score some cases by whichever worker is free."""
        return read_scored(await self._carry_out(score_order(config, cases)))

    async def stop(self) -> None:
        """End every worker, and the cluster if it is ours."""
        for task in [*self._starting, *self._built.values()]:
            task.cancel()
        for worker in list(self._workers):
            self._stop_worker(worker)
        await asyncio.to_thread(self._ray.close)

    def _start_worker(self) -> None:
        """Start a worker; it is idle as soon as it is ready."""
        task = asyncio.create_task(self._await_worker())
        self._starting.add(task)
        task.add_done_callback(self._starting.discard)

    async def _await_worker(self) -> None:
        worker = _Actor.remote(plan_text(replace(self._plan, limit_shares=self.workers)))  # only a cluster knows how many they are
        self._workers.add(worker)
        try:
            await worker.ready.remote()
        except RayError as error:
            self._idle.put_nowait(error)
        else:
            self._idle.put_nowait(worker)

    async def _build(self, config: RagConfig) -> StoreCounts:
        try:
            return read_indexed(await self._carry_out(index_order(config)))
        except BaseException:
            del self._built[config.digest("index")]  # the next caller builds it again
            raise

    async def _carry_out(self, text: str) -> str:
        worker = await self._idle.get()
        try:
            if isinstance(worker, RayError):  # one that was asked for and did not come
                raise worker
            reply = str(await worker.run.remote(text))
        except RayTaskError:  # a mistake of ours, with its trace
            raise
        except RayActorError:
            self._stop_worker(worker)
            self._start_worker()
            raise WorkerDied(f"{self._ray.where} may be short of memory.") from None
        except RayError as error:
            raise InfrastructureError(f"{self._ray.where} failed: {str(error).splitlines()[0]}") from error
        self._idle.put_nowait(worker)
        return reply

    def _stop_worker(self, worker: Any) -> None:
        self._workers.discard(worker)
        if not isinstance(worker, RayError):
            with contextlib.suppress(RayError, ValueError):
                ray.kill(worker)


class _RayWorker:
    """A worker in a process of Ray's."""

    def __init__(self, plan: str) -> None:
        self._plan = plan
        self._loop: WorkerLoop | None = None

    def ready(self) -> None:
        """Answers once the process is there."""

    def run(self, text: str) -> str:
        """Carry out an order; models and documents are loaded with the first."""
        try:
            self._loop = self._loop or WorkerLoop(self._plan)
        except TouchstoneError as error:
            return failure_text(error)
        return self._loop.run(text)


_Actor: Any = ray.remote(num_cpus=1, max_restarts=0)(_RayWorker)
