"""Writes traces beside the answers: a question never waits for the store."""

import queue
import threading
import time
from collections.abc import Callable
from typing import Final

from structlog.typing import FilteringBoundLogger

from serving.pipeline.errors import TouchstoneError
from serving.pipeline.types import Query, StageRecord, Trace, Usage
from serving.traces.base import TraceStore
from serving.traces.record import TraceRecord

BATCH: Final = 64
PAUSE_S: Final = 0.25  # at most this long is a trace in memory alone, while the store answers
RETRY_S: Final = 2.0
SWEEP_S: Final = 3600.0  # how often what is too old is removed


class TraceWriter:
    """An observer that puts every trace into a store, from a thread of its own.

    At most `most` wait; beyond that the newest is left out and counted. While the store is out they wait. `close` writes what waits.
    """

    def __init__(
        self,
        store: TraceStore,
        log: FilteringBoundLogger,
        *,
        most: int,
        retention_s: float,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.store = store
        self._log = log
        self._retention_s = retention_s
        self._wall = wall
        self._waiting: queue.Queue[TraceRecord] = queue.Queue(most)
        self._pending: dict[str, TraceRecord] = {}  # by id: those that wait and those that are being written
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="trace-writer")
        self.lost = 0
        self.failing = False

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def pending(self, trace_id: str) -> TraceRecord | None:
        """A trace that is not in the store yet."""
        return self._pending.get(trace_id)

    @property
    def waiting(self) -> int:
        """How many are not in the store yet."""
        return len(self._pending)

    def stage_started(self, query: Query, stage: str) -> None:
        """Nothing."""

    def stage_finished(self, query: Query, record: StageRecord) -> None:
        """Nothing."""

    def failed(self, query: Query, error: BaseException) -> None:
        """Nothing: there is no trace."""

    def spent(self, query: Query, usage: Usage) -> None:
        """Nothing."""

    def answered(self, trace: Trace) -> None:
        """Take a trace on; never waits."""
        record = TraceRecord.of(trace, self._wall())
        self._pending[record.id] = record
        try:
            self._waiting.put_nowait(record)
        except queue.Full:
            self._pending.pop(record.id, None)
            self.lost += 1

    def close(self, patience_s: float = 10.0) -> None:
        """Write what waits, and stop."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(patience_s)
        if self._pending:
            self._log.error("traces lost", count=len(self._pending), place=self.store.place)
        self.store.close()

    def _run(self) -> None:
        swept = -SWEEP_S
        while not (self._stop.is_set() and self._waiting.empty()):
            batch = self._batch()
            while batch and not self._write(batch):
                if self._stop.is_set():
                    return
                self._stop.wait(RETRY_S)
            if self._retention_s and time.monotonic() - swept > SWEEP_S:
                swept = time.monotonic()
                self._sweep()

    def _batch(self) -> list[TraceRecord]:
        """What waits, after a short while in which more may come."""
        try:
            batch = [self._waiting.get(timeout=PAUSE_S)]
        except queue.Empty:
            return []
        while len(batch) < BATCH:
            try:
                batch.append(self._waiting.get_nowait())
            except queue.Empty:
                break
        return batch

    def _write(self, batch: list[TraceRecord]) -> bool:
        try:
            self.store.put(batch)
        except TouchstoneError as error:
            if not self.failing:
                self._log.error("traces not written", place=self.store.place, reason=str(error), effect="they wait in memory")
            self.failing = True
            return False
        except Exception:  # noqa: BLE001 — what cannot be written must not keep the others from it
            self._log.exception("traces not written", place=self.store.place, effect="these are lost", count=len(batch))
            self.lost += len(batch)
        if self.failing:
            self._log.info("traces written again", place=self.store.place)
        self.failing = False
        for record in batch:
            self._pending.pop(record.id, None)
        return True

    def _sweep(self) -> None:
        try:
            if removed := self.store.forget_before(self._wall() - self._retention_s):
                self._log.info("old traces removed", count=removed, place=self.store.place)
        except TouchstoneError as error:
            self._log.warning("old traces not removed", place=self.store.place, reason=str(error))
