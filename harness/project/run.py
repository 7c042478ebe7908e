"""Runs an awaitable for a caller that cannot await: a script, or a notebook whose event loop is running."""

import asyncio
import inspect
from collections.abc import Awaitable
from typing import TypeVar

from serving.pipeline.errors import ConfigError
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
    if not inspect.isawaitable(work):
        raise ConfigError(f"run takes what a method of a Project gives: run(project.evaluate(…)), not {type(work).__name__}.")
    if inspect.iscoroutine(work) and inspect.getcoroutinestate(work) == inspect.CORO_CLOSED:
        raise ConfigError(f"This {work.__qualname__} was run already: call the method again for another result.")
    return await work
