"""Who watches queries: spans, metrics, trace stores, progress."""

import logging
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from serving.pipeline.types import Query, StageRecord, Trace

log = logging.getLogger(__name__)


class Observer(Protocol):
    """Is told of every stage of a query, in order, while it is answered; `query` is the same object in every call.

    A stage that failed is started and not finished; then `failed` ends the query, as `answered` ends the others. Calls come from the
    event loop and are not waited for: what takes time is put aside.
    """

    def stage_started(self, query: Query, stage: str) -> None: ...

    def stage_finished(self, query: Query, record: StageRecord) -> None: ...

    def answered(self, trace: Trace) -> None: ...

    def failed(self, query: Query, error: BaseException) -> None: ...


class Observers:
    """Several observers as one; one that raises is logged the first time, and never breaks an answer."""

    def __init__(self, observers: Iterable[Observer] = ()) -> None:
        self._observers = tuple(observers)
        self._broken: set[int] = set()

    def stage_started(self, query: Query, stage: str) -> None:
        """Tell that a stage begins."""
        self._tell(lambda observer: observer.stage_started(query, stage))

    def stage_finished(self, query: Query, record: StageRecord) -> None:
        """Tell how a stage went."""
        self._tell(lambda observer: observer.stage_finished(query, record))

    def answered(self, trace: Trace) -> None:
        """Tell how a query ended."""
        self._tell(lambda observer: observer.answered(trace))

    def failed(self, query: Query, error: BaseException) -> None:
        """Tell what a query ended with instead of an answer."""
        self._tell(lambda observer: observer.failed(query, error))

    def _tell(self, call: Callable[[Observer], Any]) -> None:
        for place, observer in enumerate(self._observers):
            try:
                call(observer)
            except Exception:
                if place not in self._broken:
                    self._broken.add(place)
                    log.exception("The observer %s failed; what it shows is not complete.", type(observer).__name__)
