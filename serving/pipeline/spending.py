"""Tells the query that is being answered what was paid for it, by whoever paid: a check, a cache, whoever asked for its vector."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import replace

from serving.pipeline.models.open_calls import OpenCalls
from serving.pipeline.types import Usage

_TELL: ContextVar[Callable[[Usage], None] | None] = ContextVar("what the query that is being answered costs", default=None)


@contextmanager
def spending(tell: Callable[[Usage], None]) -> Iterator[None]:
    """Within it, and in the tasks and threads that are begun within it, `tell` is told what is paid."""
    token = _TELL.set(tell)
    try:
        yield
    finally:
        _TELL.reset(token)


def spent(*usage: Usage) -> None:
    """Tell what was paid; outside of a query nobody is told."""
    if (tell := _TELL.get()) is not None:
        for use in usage:
            tell(use)


def unused_calls(use: Usage, cost: Callable[[object], Usage] | None = None) -> OpenCalls:
    """Watches calls that are given up.

    One whose answer came too late has cost `use`, or what `cost` reads of the answer; of one that was cut nobody knows whether it has.
    """
    loop = asyncio.get_running_loop()

    def told(usage: Usage) -> None:
        with suppress(RuntimeError):  # the loop was closed: the process ends
            loop.call_soon_threadsafe(spent, usage)

    unknown = replace(use, priced=False, estimated=True)
    return OpenCalls(on_late=lambda late: told(cost(late) if cost else use), on_cut=lambda: told(unknown))
