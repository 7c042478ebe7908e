"""Collects what a query costs: whatever calls a paid model records its usage here, at once, and the running query adds it to its trace."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import replace

from serving.pipeline.models.open_calls import OpenCalls
from serving.pipeline.types import Usage

_RECORD: ContextVar[Callable[[Usage], None] | None] = ContextVar("usage_receiver", default=None)


@contextmanager
def metering(record: Callable[[Usage], None]) -> Iterator[None]:
    """Within the block, and in tasks and threads started in it, `record` receives all usage."""
    token = _RECORD.set(record)
    try:
        yield
    finally:
        _RECORD.reset(token)


def record_usage(*usage: Usage) -> None:
    """Record paid usage; outside of a query it is dropped."""
    if (record := _RECORD.get()) is not None:
        for use in usage:
            record(use)


def metered_calls(use: Usage, cost: Callable[[object], Usage] | None = None) -> OpenCalls:
    """Meters calls that are abandoned before their answer comes.

    A call that still completes has cost `use`, or what `cost` reads from the answer. A stream that was cut is recorded without a price:
    nobody knows what it cost.
    """
    loop = asyncio.get_running_loop()

    def record(usage: Usage) -> None:
        with suppress(RuntimeError):  # the loop was closed: the process ends
            loop.call_soon_threadsafe(record_usage, usage)

    unknown = replace(use, priced=False, estimated=True)
    return OpenCalls(on_late=lambda late: record(cost(late) if cost else use), on_cut=lambda: record(unknown))
