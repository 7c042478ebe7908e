"""Observers of queries: spans, metrics, trace stores, progress."""

import logging
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from serving.pipeline.types import Query, StageRecord, Trace, Usage

log = logging.getLogger(__name__)


class Observer(Protocol):
    """Is notified of every stage of a query, in order; `query` is the same object in every call.

    `query` has no text, since the guard has not checked it yet; the trace has the text that may be stored. A query ends with `answered` or
    `failed`; a stage that failed is started and never finished. `spent` reports usage that is in no trace: of a failed query, and of calls
    that end after the answer. Calls come from the event loop and must not block it.
    """

    def stage_started(self, query: Query, stage: str) -> None: ...

    def stage_finished(self, query: Query, record: StageRecord) -> None: ...

    def answered(self, trace: Trace) -> None: ...

    def failed(self, query: Query, error: BaseException) -> None: ...

    def spent(self, query: Query, usage: Usage) -> None: ...


class NullObserver:
    """Ignores every event; a subclass handles those that it needs."""

    def stage_started(self, query: Query, stage: str) -> None:
        """A stage has begun."""

    def stage_finished(self, query: Query, record: StageRecord) -> None:
        """A stage has ended."""

    def answered(self, trace: Trace) -> None:
        """A query was answered."""

    def failed(self, query: Query, error: BaseException) -> None:
        """A query failed."""

    def spent(self, query: Query, usage: Usage) -> None:
        """Usage that is in no trace."""


class Observers:
    """Several observers as one; one that raises is logged the first time, and never breaks an answer."""

    def __init__(self, observers: Iterable[Observer] = ()) -> None:
        self._observers = tuple(observers)
        self._broken: set[int] = set()

    def stage_started(self, query: Query, stage: str) -> None:
        """Notify of the start of a stage."""
        self._notify(lambda observer: observer.stage_started(query, stage))

    def stage_finished(self, query: Query, record: StageRecord) -> None:
        """Notify of the end of a stage."""
        self._notify(lambda observer: observer.stage_finished(query, record))

    def answered(self, trace: Trace) -> None:
        """Notify of an answered query."""
        self._notify(lambda observer: observer.answered(trace))

    def failed(self, query: Query, error: BaseException) -> None:
        """Notify of a failed query."""
        self._notify(lambda observer: observer.failed(query, error))

    def spent(self, query: Query, usage: Usage) -> None:
        """Notify of usage that is in no trace."""
        self._notify(lambda observer: observer.spent(query, usage))

    def _notify(self, call: Callable[[Observer], Any]) -> None:
        for index, observer in enumerate(self._observers):
            try:
                call(observer)
            except Exception:
                if index not in self._broken:
                    self._broken.add(index)
                    log.exception("The observer %s failed; what it shows is not complete.", type(observer).__name__)
