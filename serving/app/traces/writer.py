"""Writes traces beside the answers: a question never waits for the store."""

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from structlog.typing import FilteringBoundLogger

from serving.pipeline.digest import digest_of
from serving.pipeline.errors import TouchstoneError
from serving.pipeline.types import Draw, Query, StageRecord, Trace, Usage
from serving.traces.base import TraceStore
from serving.traces.record import FAILED, TraceRecord

BATCH: Final = 64
PAUSE_S: Final = 0.25  # between two looks at whether to stop
GATHER_S: Final = 0.1  # a trace waits for others, since one transaction for many costs far less
RETRY_S: Final = 2.0
SWEEP_S: Final = 3600.0  # how often what is too old is removed


@dataclass(frozen=True, slots=True)
class EndedQuery:
    """A trace, and when it ended."""

    trace: Trace
    at: float


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
        mask: Callable[[Trace], Trace] = lambda trace: trace,
        mask_text: Callable[[str], str] = lambda text: text,
    ) -> None:
        self.store = store
        self._log = log
        self._retention_s = retention_s
        self._wall = wall
        self._mask = mask
        self._mask_text = mask_text
        self._waiting: queue.Queue[EndedQuery] = queue.Queue(most)
        self._pending: dict[str, EndedQuery] = {}  # by id: those that wait and those that are being written
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="trace-writer")
        self._forgotten: dict[str, float] = {}  # documents that were just deleted, and until when answers may have words of them
        self.lost = 0
        self.failing = False

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def find(self, trace_id: str) -> TraceRecord | None:
        """A trace by its id, also one that is not in the store yet; takes time, and belongs in a thread."""
        ended = self._pending.get(trace_id)
        return self._record(ended) if ended else self.store.get(trace_id)

    def forget_document(self, document_id: str, until: float) -> int:
        """Take a document's words out of every trace, also of those of answers that end until then."""
        now = self._wall()
        self._forgotten = {ident: last for ident, last in self._forgotten.items() if last > now} | {document_id: until}
        return self.store.forget_document(document_id)

    def masked(self, text: str) -> str:
        """A text as it may be kept."""
        return self._mask_text(text)

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
        ended = EndedQuery(trace, self._wall())
        self._pending[trace.id] = ended
        try:
            self._waiting.put_nowait(ended)
        except queue.Full:
            self._pending.pop(trace.id, None)
            self.lost += 1

    def unanswered(self, query: Query, draw: Draw, release: str, pair: str = "") -> None:
        """Keep that a question failed while a candidate was tried: how it was drawn, and nothing of what was asked."""
        ident = digest_of([query.id, release, pair, FAILED, self._wall()])
        bare = replace(query, text="", history=(), metadata={})
        self.answered(Trace(ident, bare, "", "", release, role=FAILED, pair=pair, draw=draw))

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

    def _record(self, ended: EndedQuery) -> TraceRecord:
        record = TraceRecord.of(self._mask(ended.trace), ended.at)
        for document_id in record.documents:
            if ended.at <= self._forgotten.get(document_id, 0.0):
                record = record.without_words_of(document_id)
        return record

    def _batch(self) -> list[EndedQuery]:
        """What waits, after a short while in which more may come."""
        try:
            batch = [self._waiting.get(timeout=PAUSE_S)]
        except queue.Empty:
            return []
        if self._waiting.qsize() < BATCH:
            self._stop.wait(GATHER_S)
        while len(batch) < BATCH:
            try:
                batch.append(self._waiting.get_nowait())
            except queue.Empty:
                break
        return batch

    def _write(self, batch: list[EndedQuery]) -> bool:
        try:
            self.store.put([self._record(ended) for ended in batch])
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
        for ended in batch:
            self._pending.pop(ended.trace.id, None)
        return True

    def _sweep(self) -> None:
        try:
            if removed := self.store.forget_before(self._wall() - self._retention_s):
                self._log.info("old traces removed", count=removed, place=self.store.place)
        except TouchstoneError as error:
            self._log.warning("old traces not removed", place=self.store.place, reason=str(error))
