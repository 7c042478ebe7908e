"""The app's lifespan: background tasks are started, and ended in order."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext, suppress
from typing import TYPE_CHECKING

from serving.app.core.emf import MetricLines
from serving.app.core.service import Service

if TYPE_CHECKING:
    from serving.app.compatible.mcp import McpEndpoint


@asynccontextmanager
async def running(service: Service, mcp: "McpEndpoint | None") -> AsyncIterator[None]:
    """Within the block the release and added documents are followed, and queued writes go on; at the end they are flushed."""
    tasks = [
        asyncio.create_task(work) for work in (service.release_manager.run(), service.repeats.report(service.log), service.documents.run())
    ]
    if service.settings.emf:
        tasks.append(asyncio.create_task(_metric_lines(service)))
    for writer in (service.traces, service.scores):
        if writer:
            writer.start()
    service.log.info("started", channel=service.settings.channel, keys=len(service.keys) if service.keys is not None else None)
    try:
        async with mcp.manager.run() if mcp else nullcontext():
            yield
    finally:
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        await service.documents.aclose()
        await service.shadows.close()
        await service.budgets.close()
        await service.rates.close()
        await service.release_manager.aclose()
        for sender in (service.traces, service.spans, service.scores):
            if sender:
                await asyncio.to_thread(sender.close)
        service.repeats.log(service.log)
        service.log.info("stopped")


async def _metric_lines(service: Service) -> None:
    await MetricLines(service.metrics.registry, service.settings.channel).run(service.refresh_gauges)
