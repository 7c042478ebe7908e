"""Workers on a Ray cluster: an existing one, or one of its own on this machine. Ray itself runs a task again whose worker died."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Iterable, Iterator
from typing import Any, Self

from harness.index_build.worker import carry_out
from harness.ray import RayConnection
from serving.pipeline.errors import InfrastructureError
from serving.pipeline.models.cores import cores

# Ray reads its environment when it is imported; harness.ray sets it before.
# isort: split
import ray
from ray.exceptions import RayError, RayTaskError

TRIES = 4  # of one task, where workers die over it
START_TIMEOUT_S = 300.0  # for the first worker; a cluster that grows on demand takes its time


class RayWorkers:
    """Tasks of a core each, at most so many at a time; connected when the first is needed."""

    def __init__(self, address: str, workers: int) -> None:
        self._ray = RayConnection(address)
        self._wanted = workers
        self.workers = workers or cores()

    async def __aenter__(self) -> Self:
        """Connect, and wait until one worker is there."""
        in_cluster = await asyncio.to_thread(self._ray.open, self.workers)
        if in_cluster and not self._wanted:
            self.workers = in_cluster
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                await self._reply(_ready.remote())
        except TimeoutError:
            await asyncio.to_thread(self._ray.close)
            late = f"gave no worker within {START_TIMEOUT_S:g} s. Has it a free core? See: ray status"
            raise InfrastructureError(f"{self._ray.where} {late}") from None
        except BaseException:
            await asyncio.to_thread(self._ray.close)
            raise
        return self

    async def __aexit__(self, *reason: object) -> None:
        """Disconnect, and end Ray where it was started here."""
        await asyncio.to_thread(self._ray.close)

    async def run(self, orders: Iterable[str]) -> AsyncGenerator[tuple[int, str], None]:
        """The replies to orders as they come, with the places of the orders; no order is read before there is room for it."""
        waiting: Iterator[tuple[int, str]] = iter(enumerate(orders))
        running: set[asyncio.Task[tuple[int, str]]] = set()
        try:
            while True:
                while len(running) < self.workers and (order := next(waiting, None)) is not None:
                    running.add(asyncio.create_task(self._result_of(*order)))
                if not running:
                    return
                done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    yield task.result()
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def _result_of(self, place: int, order: str) -> tuple[int, str]:
        return place, str(await self._reply(_task.remote(order)))

    async def _reply(self, reference: Any) -> Any:
        try:
            return await reference
        except asyncio.CancelledError:
            with contextlib.suppress(RayError, ValueError):
                ray.cancel(reference, force=True)
            raise
        except RayTaskError:  # a mistake of ours, with its trace
            raise
        except RayError as error:
            why = (str(error).splitlines() or [repr(error)])[0]
            again = "What is done is kept: run the command again, and it goes on."
            raise InfrastructureError(f"{self._ray.where} failed: {why.rstrip('.')}. It may be short of memory. {again}") from error


def _ready_check() -> None:
    """Answers once a worker is there."""


_task: Any = ray.remote(num_cpus=1, max_retries=TRIES - 1)(carry_out)
_ready: Any = ray.remote(num_cpus=1, max_retries=TRIES - 1)(_ready_check)
