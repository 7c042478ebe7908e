"""Calls that may outlive those who wait for them: a thread cannot be stopped, and a provider is paid for what it began.

Whoever is answerable for calls watches them with `OpenCalls`: a rate limiter holds a call's place until it has ended, the API a
question's, and the pipeline counts the dollars of an answer that came too late. Watchers nest; every one around a call hears of it.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

_INNERMOST: "ContextVar[OpenCalls | None]" = ContextVar("open_calls", default=None)
NOTHING: Final = object()  # the result of a call that failed


class OpenCalls:
    """Watches the calls that are begun inside `watch`, in whichever task or thread."""

    def __init__(self, *, on_late: Callable[[object], None] | None = None, on_cut: Callable[[], None] | None = None) -> None:
        self.begun = 0  # in threads
        self.running = 0
        self._on_late = on_late  # gets the result of a call in a thread that nobody waited for
        self._on_cut = on_cut  # is told of a call that was broken off: nobody will know what it cost
        self._when_done: list[Callable[[], None]] = []
        self._lock = threading.Lock()
        self._outer: OpenCalls | None = None

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Watch what is begun inside."""
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
        """`watcher` is one more, for a generator, which cannot change what is around the code that runs."""
        self._watchers = (*_watchers(),) if watcher is None else (watcher, *_watchers())
        self._lock = threading.Lock()
        self._abandoned = False
        self._result: list[object] = []  # empty while it runs
        for watcher in self._watchers:
            watcher._began()

    def end(self, result: object = NOTHING) -> None:
        """The thread is done; said by the thread itself."""
        with self._lock:
            self._result.append(result)
            late = self._abandoned
        try:
            if late:
                self._tell(result)
        finally:
            for watcher in self._watchers:
                watcher._ended()

    def abandon(self) -> None:
        """Nobody waits for the result any more, or ever took it."""
        with self._lock:
            self._abandoned = True
            ended = list(self._result)
        for result in ended:
            self._tell(result)

    def _tell(self, result: object) -> None:
        if result is not NOTHING:
            for watcher in self._watchers:
                if watcher._on_late is not None:
                    watcher._on_late(result)


def call_was_cut() -> None:
    """Tell those around that a call was broken off before it told what it cost."""
    for watcher in _watchers():
        if watcher._on_cut is not None:
            watcher._on_cut()


def _watchers() -> Iterator[OpenCalls]:
    """Those around the code that runs, the innermost first."""
    watcher = _INNERMOST.get()
    while watcher is not None:
        yield watcher
        watcher = watcher._outer
