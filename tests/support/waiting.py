"""Waiting for what another process, thread or task does."""

import asyncio
import inspect
import time
from collections.abc import Callable

WITHIN_S = 120.0  # after which a test that hangs fails: far beyond what anything takes on a machine that is slow and busy


def until(done: Callable[[], object], within_s: float = WITHIN_S) -> None:
    """Ask again and again until it is so; fail when it does not come to be."""
    end = time.monotonic() + within_s
    while not done():
        assert time.monotonic() < end, "it did not come to be in time"
        time.sleep(0.05)


async def eventually(done: Callable[[], object], within_s: float = WITHIN_S) -> None:
    """The same while the loop goes on; `done` may be a coroutine function."""
    end = time.monotonic() + within_s
    while not await _awaited(done()):
        assert time.monotonic() < end, "it did not come to be in time"
        await asyncio.sleep(0.01)


async def _awaited(found: object) -> object:
    return await found if inspect.isawaitable(found) else found
