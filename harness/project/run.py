"""The result of an awaitable for whoever cannot await: a script, or a notebook whose event loop runs already."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from serving.pipeline.models.threads import run_blocking

T = TypeVar("T")


def run(work: Awaitable[T]) -> T:
    """The result of what a `Project` is asked to do; where an event loop runs, it is computed beside it, in a thread of its own."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(_awaited(work))
    return run_blocking(_awaited(work))


async def _awaited(work: Awaitable[T]) -> T:
    return await work
