"""Ctrl-C ends a command at once: tasks are cancelled and clean up, and running threads are not waited for."""

import asyncio
import os
import sys
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")

STOPPED_CODE = 130
BEAT_S = 0.5


def run_async(work: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine, as `asyncio.run` has it."""
    with asyncio.Runner() as runner:
        return run_in(runner, work)


def run_in(runner: asyncio.Runner, work: Coroutine[Any, Any, T]) -> T:
    """The same in a runner that is used again."""
    try:
        return runner.run(_with_beat(work))
    except (KeyboardInterrupt, asyncio.CancelledError):
        runner.get_loop().set_default_executor(ThreadPoolExecutor(1))  # closing the loop waits for the threads of this one: it has none
        raise


async def _with_beat(work: Coroutine[Any, Any, T]) -> T:
    """The same, in a loop that never sleeps long: a signal that comes just before it falls asleep does not wake it."""
    beat = asyncio.create_task(_beat())
    try:
        return await work
    finally:
        beat.cancel()


async def _beat() -> None:
    while True:  # noqa: ASYNC110 — there is no event: to wake is all
        await asyncio.sleep(BEAT_S)


def leave(code: int) -> None:
    """End the process; after Ctrl-C without waiting for its threads, which write a file whole or not at all."""
    if code == STOPPED_CODE:
        if (processes := sys.modules.get("multiprocessing.util")) is not None:
            processes._run_finalizers(0)  # the semaphores of a pool of workers, which Python would miss with a warning; waits for nobody
        with suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
