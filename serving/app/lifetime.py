"""The app's lifespan: background tasks are started, and ended in order."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Any

from structlog.typing import FilteringBoundLogger

from serving.app.core.emf import MetricLines
from serving.app.core.service import Service

if TYPE_CHECKING:
    from serving.app.compatible.mcp import McpEndpoint


@asynccontextmanager
async def running(service: Service, mcp: "McpEndpoint | None") -> AsyncIterator[None]:
    """Within the block the release and added documents are followed, and queued writes go on; at the end they are flushed."""
    works: dict[str, Coroutine[Any, Any, None]] = {
        "release manager": service.release_manager.run(),
        "repeated events": service.repeats.report(service.log),
        "added documents": service.documents.run(),
    }
    if service.settings.emf:
        works["metric lines"] = _metric_lines(service)
    tasks = [_started(name, work, service.log) for name, work in works.items()]
    for writer in (service.traces, service.scores):
        if writer:
            writer.start()
    service.log.info("started", channel=service.settings.channel, keys=len(service.keys) if service.keys is not None else None)
    async with AsyncExitStack() as ends:  # what is added first ends last; each part is closed even where another one cannot be
        ends.callback(service.log.info, "stopped")
        ends.callback(service.repeats.log, service.log)
        for sender in (service.scores, service.spans, service.traces):
            if sender:
                ends.push_async_callback(asyncio.to_thread, sender.close)
        ends.push_async_callback(service.release_manager.aclose)
        ends.push_async_callback(service.rates.close)
        ends.push_async_callback(service.budgets.close)
        ends.push_async_callback(service.shadows.close)
        ends.push_async_callback(service.documents.aclose)
        for task in reversed(tasks):
            ends.push_async_callback(_cancelled, task)
        async with mcp.manager.run() if mcp else nullcontext():
            yield


def _started(name: str, work: Coroutine[Any, Any, None], log: FilteringBoundLogger) -> "asyncio.Task[None]":
    """A background task, whose crash is logged at once: nobody awaits it before the server stops."""

    def report(task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("background task crashed", task=name, error=type(error).__name__, exc_info=error)

    task = asyncio.create_task(work)
    task.add_done_callback(report)
    return task


async def _cancelled(task: "asyncio.Task[None]") -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def _metric_lines(service: Service) -> None:
    await MetricLines(service.metrics.registry, service.settings.channel).run(service.refresh_gauges)
