"""Writes traces beside the answers: a question never waits for the store."""

import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from structlog.typing import FilteringBoundLogger

from serving.pipeline.digest import digest_of
from serving.pipeline.errors import TouchstoneError
from serving.pipeline.observer import NullObserver
from serving.pipeline.types import Draw, Query, Trace
from serving.traces.base import TraceStore
from serving.traces.journal import TraceJournal
from serving.traces.record import FAILED, TraceRecord

BATCH: Final = 64
PAUSE_S: Final = 0.25  # between two looks at whether to stop
GATHER_S: Final = 0.1  # a trace waits for others, since one transaction, or one write, for many costs far less
RETRY_S: Final = 2.0
SWEEP_S: Final = 3600.0  # how often what is too old is removed
REPLAY_EVERY_S: Final = 10.0  # between two looks for what dead processes left

Waiting = TypeVar("Waiting")


@dataclass(frozen=True, slots=True)
class EndedQuery:
    """A trace, and when it ended."""

    trace: Trace
    at: float

    @property
    def id(self) -> str:
        """The id of its trace."""
        return self.trace.id


class TraceWriter(NullObserver):
    """An observer that puts every trace into a store, from a thread of its own.

    At most `most` wait; beyond that the newest is left out and counted. While the store is out they wait. `close` writes what waits.
    With a journal they wait on disk too, where another thread writes them as soon as they have ended: a kill loses none that is there.
    """

    def __init__(
        self,
        store: TraceStore,
        log: FilteringBoundLogger,
        *,
        most: int,
        retention_s: float,
        journal: TraceJournal | None = None,
        wall: Callable[[], float] = time.time,
        mask: Callable[[Trace], Trace] = lambda trace: trace,
        mask_text: Callable[[str], str] = lambda text: text,
    ) -> None:
        self.store = store
        self._log = log
        self._most = most
        self._retention_s = retention_s
        self._journal = journal
        self._wall = wall
        self._mask = mask
        self._mask_text = mask_text
        self._ended: queue.SimpleQueue[EndedQuery] = queue.SimpleQueue()  # for the journal
        self._waiting: queue.SimpleQueue[EndedQuery | TraceRecord] = queue.SimpleQueue()  # for the store
        self._pending: dict[str, EndedQuery | TraceRecord] = {}  # by id: those that wait and those that are being written
        self._stop = threading.Event()
        self._journal_thread = threading.Thread(target=self._run_journal, daemon=True, name="trace-journal")
        self._thread = threading.Thread(target=self._run, daemon=True, name="trace-writer")
        self._store_lock = threading.Lock()
        self._forgotten: dict[str, float] = {}  # documents that were deleted, and until when answers may have words of them
        self._deleted: Callable[[], Mapping[str, float]] | None = None
        self._next_replay_at = 0.0
        self._journal_problem = ""
        self.lost = 0
        self.replayed = 0
        self.dropped = 0
        self.failing = False
        self.unjournaled = False

    def start(self) -> None:
        """Begin to write."""
        if self._journal is not None:
            try:
                self._journal.open()
            except OSError as error:
                self._log_journal(error)
                self._journal = None
            else:
                self._journal_thread.start()
        self._thread.start()

    def find(self, trace_id: str) -> TraceRecord | None:
        """A trace by its id, also one that is not in the store yet; takes time, and belongs in a thread."""
        waiting = self._pending.get(trace_id)
        return self._record(waiting) if waiting else self.store.get(trace_id)

    def replay(self, deleted: Callable[[], Mapping[str, float]]) -> None:
        """From now on also put into the store what dead processes left, without words of documents that were deleted.

        These come with the time until which answers may have words of them.
        """
        self._deleted = deleted

    def forget_document(self, document_id: str, until: float) -> int:
        """Take a document's words out of every trace, also of those of answers that end until then."""
        waiting = list(self._pending.values())
        oldest = min((one.at for one in waiting), default=self._wall())
        self._forgotten = {ident: last for ident, last in self._forgotten.items() if last >= oldest} | {document_id: until}
        with self._store_lock:  # what is being written has been made before, and has to be there
            pass
        if self._journal is not None:
            holding = [one for one in waiting if isinstance(one, TraceRecord) and document_id in one.documents]
            self._rewrite_journal({one.id: self._record(one) for one in holding})
        return self.store.forget_document(document_id)

    def masked(self, text: str) -> str:
        """A text as it may be kept."""
        return self._mask_text(text)

    @property
    def waiting(self) -> int:
        """How many are not in the store yet."""
        return len(self._pending)

    def answered(self, trace: Trace) -> None:
        """Take a trace on; never waits."""
        if len(self._pending) >= self._most:
            self.lost += 1
            return
        ended = EndedQuery(trace, self._wall())
        self._pending[trace.id] = ended
        (self._waiting if self._journal is None else self._ended).put(ended)

    def unanswered(self, query: Query, draw: Draw, release: str, pair: str = "") -> None:
        """Keep that a question failed while a candidate was tried: how it was drawn, and nothing of what was asked."""
        ident = digest_of([query.id, release, pair, FAILED, self._wall()])
        bare = replace(query, text="", history=(), metadata={})
        self.answered(Trace(ident, bare, "", "", release, role=FAILED, pair=pair, draw=draw))

    def close(self, timeout_s: float = 10.0) -> None:
        """Write what waits, and stop."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        if self._journal_thread.is_alive():
            self._journal_thread.join(timeout_s)
        left = 0
        if self._journal is not None and (left := self._journal.close()):
            self._log.warning(
                "traces left in the journal", count=left, place=str(self._journal.folder), effect="the next start stores them"
            )
        if len(self._pending) > left:
            self._log.error("traces lost", count=len(self._pending) - left, place=self.store.place)
        self.store.close()

    def _run_journal(self) -> None:
        """Write what has ended into the journal, and hand it on."""
        while not (self._stop.is_set() and self._ended.empty()):
            ended = self._batch_of(self._ended)
            for waiting in self._journaled(ended) if ended else ():
                self._pending[waiting.id] = waiting
                self._waiting.put(waiting)

    def _journaled(self, ended: Sequence[EndedQuery]) -> list[EndedQuery | TraceRecord]:
        """What waits for the store, after it was written into the journal."""
        assert self._journal is not None
        records: list[EndedQuery | TraceRecord] = []
        for one in ended:
            try:
                records.append(self._record(one))
            except Exception:  # noqa: BLE001 — the store's thread meets it again, and tells it
                records.append(one)
        try:
            self._journal.append([one for one in records if isinstance(one, TraceRecord)])
            self._log_journal(None)
        except OSError as error:
            self._log_journal(error)
        return records

    def _run(self) -> None:
        swept = -SWEEP_S
        while not (self._stop.is_set() and not self._journal_thread.is_alive() and self._waiting.empty()):
            if self._deleted is not None and not self._stop.is_set() and time.monotonic() >= self._next_replay_at:
                try:
                    self._replay(self._deleted)
                except Exception:  # noqa: BLE001 — whatever was left must not keep what comes from being stored
                    self._log.exception("a journal of traces not replayed", effect="it is left where it is")
                self._next_replay_at = time.monotonic() + REPLAY_EVERY_S
            batch = self._batch_of(self._waiting)
            while batch := self._write(batch):
                if self._stop.is_set():
                    return
                self._stop.wait(RETRY_S)
            if self._retention_s and time.monotonic() - swept > SWEEP_S:
                swept = time.monotonic()
                self._sweep()

    def _record(self, waiting: EndedQuery | TraceRecord) -> TraceRecord:
        record = waiting if isinstance(waiting, TraceRecord) else TraceRecord.of(self._mask(waiting.trace), waiting.at)
        return _without_deleted(record, self._forgotten)

    def _batch_of(self, waiting: "queue.SimpleQueue[Waiting]") -> list[Waiting]:
        """What waits, after a short while in which more may come."""
        try:
            batch = [waiting.get(timeout=PAUSE_S)]
        except queue.Empty:
            return []
        if waiting.qsize() < BATCH:
            self._stop.wait(GATHER_S)
        while len(batch) < BATCH:
            try:
                batch.append(waiting.get_nowait())
            except queue.Empty:
                break
        return batch

    def _write(self, batch: list[EndedQuery | TraceRecord]) -> list[EndedQuery | TraceRecord]:
        """Store a batch; what is left of it while the store is out."""
        if not batch:
            return []
        try:
            with self._store_lock:
                self.store.put([self._record(waiting) for waiting in batch])
        except TouchstoneError as error:
            if not self.failing:
                self._log.error("traces not written", place=self.store.place, reason=str(error), effect="they wait in memory")
            self.failing = True
            return batch
        except Exception:  # noqa: BLE001 — what cannot be written must not keep the others from it
            if len(batch) > 1:
                return self._write_each(batch)
            self._log.exception("traces not written", place=self.store.place, effect="these are lost", count=len(batch))
            self.lost += len(batch)
        if self.failing:
            self._log.info("traces written again", place=self.store.place)
        self.failing = False
        idents = [waiting.id for waiting in batch]
        if self._journal is not None:
            self._journal.stored(idents)
        for ident in idents:
            self._pending.pop(ident, None)
        return []

    def _write_each(self, batch: list[EndedQuery | TraceRecord]) -> list[EndedQuery | TraceRecord]:
        """The same one by one, so that only what cannot be written is lost."""
        for number, waiting in enumerate(batch):
            if self._write([waiting]):
                return batch[number:]
        return []

    def _replay(self, deleted: Callable[[], Mapping[str, float]]) -> None:
        """Have what dead processes left wait for the store, without words of deleted documents."""
        if self._journal is None:
            return
        journal = self._journal
        try:
            left = journal.take_on(self._most - len(self._pending), self._most)
        except OSError as error:
            return self._log_journal(error)
        if left.problem and left.problem != self._journal_problem:
            self._log.warning("a journal of traces not read", reason=left.problem)
        self._journal_problem = left.problem
        if not left.records and not left.dropped:
            return
        kept = self._storable(left.records, deleted())
        journal.stored([record.id for record in left.records if record.id not in kept])
        self._rewrite_journal(
            {record.id: kept[record.id] for record in left.records if record.id in kept and kept[record.id] is not record}
        )
        for record in kept.values():
            self._pending[record.id] = record
            self._waiting.put(record)
        dropped = left.dropped + len(left.records) - len(kept)
        self.replayed += len(kept)
        self.dropped += dropped
        self._log.info("traces replayed", place=str(journal.folder), count=len(kept), dropped=dropped)

    def _storable(self, left: Sequence[TraceRecord], deleted: Mapping[str, float]) -> dict[str, TraceRecord]:
        """What may be stored of what was left: nothing too old, nothing that is no trace, and no words of deleted documents."""
        oldest = self._wall() - self._retention_s if self._retention_s else 0.0
        kept = {}
        for record in left:
            with suppress(ValueError, TypeError):
                record.value()
                if record.at >= oldest:
                    kept[record.id] = _without_deleted(record, deleted)
        return kept

    def _rewrite_journal(self, changed: Mapping[str, TraceRecord]) -> None:
        if self._journal is not None and changed:
            try:
                self._journal.change(changed)
            except OSError as error:
                self._log_journal(error)

    def _log_journal(self, error: OSError | None) -> None:
        """Log a failure of the journal once, and its end."""
        assert self._journal is not None
        place = str(self._journal.folder)
        if error is not None and not self.unjournaled:
            reason, effect = str(error), "a kill would lose the traces that wait in memory"
            self._log.warning("traces not journaled", place=place, reason=reason, effect=effect)
        elif error is None and self.unjournaled:
            self._log.info("traces journaled again", place=place)
        self.unjournaled = error is not None

    def _sweep(self) -> None:
        try:
            if removed := self.store.forget_before(self._wall() - self._retention_s):
                self._log.info("old traces removed", count=removed, place=self.store.place)
        except TouchstoneError as error:
            self._log.warning("old traces not removed", place=self.store.place, reason=str(error))


def _without_deleted(record: TraceRecord, deleted: Mapping[str, float]) -> TraceRecord:
    """A record with no words of deleted documents, each given with the time until which answers may have some."""
    for document_id in record.documents:
        if record.at <= deleted.get(document_id, 0.0):
            record = record.without_words_of(document_id)
    return record
