"""Blocking libraries beside an event loop, one daemon thread per call.

The loop's own pool has a handful of threads and is joined at exit, so it would both cap the calls in flight below what
the settings allow and let one silent endpoint hold up Ctrl-C.
"""

import asyncio
import contextvars
import queue
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterator
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")
_END = object()


@dataclass(frozen=True, slots=True)
class _Failed:
    error: BaseException


async def in_thread(call: Callable[[], T]) -> T:
    """The result of a blocking call; when the waiter is cancelled, the call ends unheard."""
    async with aclosing(each_in_thread(lambda: iter((call(),)))) as results:
        return await anext(results)


async def each_in_thread(make: Callable[[], Iterator[T]], *, silence_s: float | None = None) -> AsyncGenerator[T, None]:
    """The items of a blocking iterator as they come; `TimeoutError` when none comes for `silence_s`."""
    loop = asyncio.get_running_loop()
    inbox: asyncio.Queue[Any] = asyncio.Queue()
    left = threading.Event()

    def post(item: object) -> None:
        with suppress(RuntimeError):  # the loop was closed: nobody listens any more
            loop.call_soon_threadsafe(inbox.put_nowait, item)

    def work() -> None:
        try:
            for item in make():
                if left.is_set():
                    return
                post(item)
            post(_END)
        except BaseException as error:  # noqa: BLE001  # handed to the waiter, who raises it
            post(_Failed(error))

    threading.Thread(target=contextvars.copy_context().run, args=(work,), daemon=True, name="model-call").start()
    try:
        while (item := await asyncio.wait_for(inbox.get(), silence_s)) is not _END:
            if isinstance(item, _Failed):
                raise item.error
            yield item
    finally:
        left.set()


def each_blocking(items: AsyncIterator[T]) -> Iterator[T]:
    """The items of an asynchronous iterator as they come, for a caller who cannot await; one who leaves ends the iterator."""
    inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
    loop = asyncio.new_event_loop()

    async def work() -> None:
        async for item in items:
            inbox.put(item)

    working = contextvars.copy_context().run(loop.create_task, work())

    def job() -> None:
        try:
            loop.run_until_complete(working)
            inbox.put(_END)
        except BaseException as error:  # noqa: BLE001  # raised again below, in the caller's thread
            inbox.put(_Failed(error))
        finally:
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()

    thread = threading.Thread(target=job, daemon=True)
    thread.start()
    try:
        while (item := inbox.get()) is not _END:
            if isinstance(item, _Failed):
                raise item.error
            yield item
    finally:
        with suppress(RuntimeError):  # the loop was closed: nothing is left to end
            loop.call_soon_threadsafe(working.cancel)
        thread.join()


def run_blocking(work: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine for a caller who cannot await, whether or not a loop runs in its thread; Ctrl-C ends the work too."""
    outcome: list[T | _Failed] = []
    loop = asyncio.new_event_loop()
    task = loop.create_task(work)

    async def done() -> T:
        return await task

    def job() -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: loop) as runner:
                outcome.append(runner.run(done()))
        except BaseException as error:  # noqa: BLE001  # raised again below, in the caller's thread
            outcome.append(_Failed(error))
        finally:
            ended.set()

    ended = threading.Event()  # a join that was interrupted takes the thread for ended
    try:
        threading.Thread(target=contextvars.copy_context().run, args=(job,), daemon=True).start()
        ended.wait()
    except BaseException:
        with suppress(RuntimeError):  # the loop was closed: it had ended
            loop.call_soon_threadsafe(task.cancel)
        ended.wait()
        raise
    [result] = outcome
    if isinstance(result, _Failed):
        raise result.error
    return result
