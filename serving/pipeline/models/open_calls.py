"""Tracks calls that may outlive their caller: a thread cannot be stopped, and the provider bills what it began.

A rate limiter holds a call's slot until the call has ended, the API holds the request's, and the pipeline counts the cost of an answer
that came too late. Watchers nest; each one around a call is notified.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

_INNERMOST: "ContextVar[OpenCalls | None]" = ContextVar("open_calls", default=None)
NOTHING: Final = object()  # the result of a call that failed


class OpenCalls:
    """Watches the calls that are started within `watch`, in any task or thread."""

    def __init__(self, *, on_late: Callable[[object], None] | None = None, on_cut: Callable[[], None] | None = None) -> None:
        self.begun = 0  # in threads
        self.running = 0
        self._on_late = on_late  # receives the result of a call whose caller was gone
        self._on_cut = on_cut  # called when a stream was cut: its cost will not be known
        self._when_done: list[Callable[[], None]] = []
        self._lock = threading.Lock()
        self._outer: OpenCalls | None = None

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Watch calls started within the block."""
        self._outer = _INNERMOST.get()
        token = _INNERMOST.set(self)
        try:
            yield
        finally:
            _INNERMOST.reset(token)

    def when_done(self, callback: Callable[[], None]) -> None:
        """Call back once no call runs: now, or in the thread of the one that ends last."""
        with self._lock:
            if self.running:
                self._when_done.append(callback)
                return
        callback()

    def _began(self) -> None:
        with self._lock:
            self.begun += 1
            self.running += 1

    def _ended(self) -> None:
        with self._lock:
            self.running -= 1
            callbacks = [] if self.running else self._when_done
            if callbacks:
                self._when_done = []
        for callback in callbacks:
            callback()


class OpenCall:
    """One call in a thread, from its beginning to its end."""

    def __init__(self, watcher: OpenCalls | None = None) -> None:
        """`watcher` is an additional one, for generators, which cannot set context variables for their consumer."""
        self._watchers = (*_watchers(),) if watcher is None else (watcher, *_watchers())
        self._lock = threading.Lock()
        self._abandoned = False
        self._result: list[object] = []  # empty while it runs
        for watcher in self._watchers:
            watcher._began()

    def end(self, result: object = NOTHING) -> None:
        """Mark the call as ended; called by its thread."""
        with self._lock:
            self._result.append(result)
            late = self._abandoned
        try:
            if late:
                self._notify_late(result)
        finally:
            for watcher in self._watchers:
                watcher._ended()

    def abandon(self) -> None:
        """Mark the call as abandoned: nobody takes its result."""
        with self._lock:
            self._abandoned = True
            ended = list(self._result)
        for result in ended:
            self._notify_late(result)

    def _notify_late(self, result: object) -> None:
        if result is not NOTHING:
            for watcher in self._watchers:
                if watcher._on_late is not None:
                    watcher._on_late(result)


def call_was_cut() -> None:
    """Notify the watchers that a call was cut before it reported its usage."""
    for watcher in _watchers():
        if watcher._on_cut is not None:
            watcher._on_cut()


def _watchers() -> Iterator[OpenCalls]:
    """The watchers around the running code, innermost first."""
    watcher = _INNERMOST.get()
    while watcher is not None:
        yield watcher
        watcher = watcher._outer
