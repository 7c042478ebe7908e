"""Writes an act down before it is done, and how it ended after: what cannot be written down is not done."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from serving.audit.base import AuditStore
from serving.audit.record import Act, AuditEntry, AuditOutcome, Detail, Ending, Source, bounded, ending_of
from serving.pipeline.errors import NotRecorded, TouchstoneError

Lost = Callable[[AuditEntry, TouchstoneError], None]


class AuditTrail:
    """The trail as one program writes it; calls block."""

    def __init__(
        self,
        store: AuditStore,
        source: Source,
        *,
        lost: Lost,  # told of an outcome that could not be written: the act is done, and stays begun in the trail
        ending_of: Callable[[BaseException], tuple[Ending, str]] = ending_of,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.store = store
        self._source = source
        self._lost = lost
        self._ending_of = ending_of
        self._wall = wall

    @contextmanager
    def act(self, act: Act) -> Iterator[dict[str, Detail]]:
        """Within it the act is done, and what came of it goes into the result; a `NotRecorded` where it cannot be written down first."""
        entry = self._record_begin(act)
        result: dict[str, Detail] = {}
        try:
            yield result
        except BaseException as error:
            self._record_end(entry, *self._ending_of(error), result)
            raise
        self._record_end(entry, "done", "", result)

    def refused(self, act: Act, reason: str) -> None:
        """Write down an act that was asked for and refused."""
        self._record_end(self._record_begin(act), "refused", reason, {})

    def _record_begin(self, act: Act) -> AuditEntry:
        entry = AuditEntry.of(act, self._source, self._wall())
        try:
            self.store.append(entry)
        except TouchstoneError as error:
            raise NotRecorded(f"{error} Nothing was done: {act.action} has to be written down first.") from error
        return entry

    def _record_end(self, entry: AuditEntry, ending: Ending, reason: str, result: dict[str, Detail]) -> None:
        try:
            self.store.append_outcome(entry, AuditOutcome(round(self._wall(), 6), ending, reason, bounded(result)))
        except TouchstoneError as error:
            self._lost(entry, error)
