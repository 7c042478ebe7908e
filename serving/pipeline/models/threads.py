"""Bridges between blocking and asynchronous code: each call runs in a daemon thread of its own.

The loop's own pool has a handful of threads and is joined at exit, so it would both cap the calls in flight below what
the settings allow and let one silent endpoint hold up Ctrl-C.
"""

import asyncio
import contextvars
import queue
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from serving.pipeline.models.open_calls import OpenCall, OpenCalls

T = TypeVar("T")
_END = object()


@dataclass(frozen=True, slots=True)
class _Failed:
    error: BaseException


async def run_in_thread(call: Callable[[], T]) -> T:
    """The result of a blocking call; if the awaiting task is cancelled, the call runs on, and its watchers get the result."""
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[T] = loop.create_future()
    open_call = OpenCall()

    def work() -> None:
        try:
            result = call()
        except BaseException as error:  # noqa: BLE001  # raised by the awaiting task
            open_call.end()
            _post(loop, _fail, outcome, error)
        else:
            open_call.end(result)
            _post(loop, _succeed, outcome, result)

    _start(work)
    try:
        return await outcome
    except asyncio.CancelledError:
        open_call.abandon()
        raise


async def iterate_in_thread(
    make: Callable[[], Iterator[T]], *, silence_s: float | None = None, calls: OpenCalls | None = None
) -> AsyncGenerator[T, None]:
    """The items of a blocking iterator as they come; `TimeoutError` when none comes for `silence_s`. `calls` watches the thread as well."""
    loop = asyncio.get_running_loop()
    items: asyncio.Queue[Any] = asyncio.Queue()
    abandoned = threading.Event()
    open_call = OpenCall(calls)

    def work() -> None:
        try:
            for item in make():
                if abandoned.is_set():
                    return  # which closes a generator, and with it the provider's stream
                _post(loop, items.put_nowait, item)
            _post(loop, items.put_nowait, _END)
        except BaseException as error:  # noqa: BLE001  # raised by the consumer
            _post(loop, items.put_nowait, _Failed(error))
        finally:
            open_call.end()

    _start(work)
    try:
        while True:
            async with asyncio.timeout(silence_s):
                item = await items.get()
            if item is _END:
                return
            if isinstance(item, _Failed):
                raise item.error
            yield item
    finally:
        abandoned.set()


def _start(work: Callable[[], None]) -> None:
    threading.Thread(target=contextvars.copy_context().run, args=(work,), daemon=True, name="model-call").start()


def _post(loop: asyncio.AbstractEventLoop, callback: Callable[..., None], *arguments: object) -> None:
    with suppress(RuntimeError):  # the loop was closed: nobody waits any more
        loop.call_soon_threadsafe(callback, *arguments)


def _succeed(outcome: "asyncio.Future[T]", result: T) -> None:
    if not outcome.done():
        outcome.set_result(result)


def _fail(outcome: "asyncio.Future[Any]", error: BaseException) -> None:
    if isinstance(error, StopIteration):  # a future takes none
        error = RuntimeError("the call raised StopIteration")
    if not outcome.done():
        outcome.set_exception(error)


def iterate_blocking(items: AsyncIterator[T]) -> Iterator[T]:
    """The items of an asynchronous iterator as they come, for a caller that cannot await; leaving the loop early cancels the iterator."""
    results: queue.SimpleQueue[Any] = queue.SimpleQueue()
    loop = asyncio.new_event_loop()

    async def work() -> None:
        async for item in items:
            results.put(item)

    task = contextvars.copy_context().run(loop.create_task, work())

    def job() -> None:
        try:
            loop.run_until_complete(task)
            results.put(_END)
        except BaseException as error:  # noqa: BLE001  # raised again below, in the caller's thread
            results.put(_Failed(error))
        finally:
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()

    thread = threading.Thread(target=job, daemon=True)
    thread.start()
    try:
        while (item := results.get()) is not _END:
            if isinstance(item, _Failed):
                raise item.error
            yield item
    finally:
        with suppress(RuntimeError):  # the loop was closed: nothing is left to cancel
            loop.call_soon_threadsafe(task.cancel)
        thread.join()


def run_blocking(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine for a caller that cannot await, whether or not a loop runs in its thread; Ctrl-C cancels it."""
    outcome: list[T | _Failed] = []
    loop = asyncio.new_event_loop()
    task = loop.create_task(coroutine)

    async def result_of_task() -> T:
        return await task

    def job() -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: loop) as runner:
                outcome.append(runner.run(result_of_task()))
        except BaseException as error:  # noqa: BLE001  # raised again below, in the caller's thread
            outcome.append(_Failed(error))
        finally:
            finished.set()

    finished = threading.Event()  # not a join: an interrupted one marks the thread as finished
    try:
        threading.Thread(target=contextvars.copy_context().run, args=(job,), daemon=True).start()
        finished.wait()
    except BaseException:
        with suppress(RuntimeError):  # the loop was closed: the task is done
            loop.call_soon_threadsafe(task.cancel)
        finished.wait()
        raise
    [result] = outcome
    if isinstance(result, _Failed):
        raise result.error
    return result
