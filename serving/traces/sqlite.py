"""Traces and feedback in one SQLite file of this machine."""

import json
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from serving.pipeline.errors import StoreError
from serving.traces.record import FAILED, FEEDBACK_SHOWN, REMOVED, Feedback, TraceQuery, TraceRecord
from serving.traces.summary import TraceSummary

BUSY_S = 10.0  # to wait for another process that is writing

_SCHEMA = """
CREATE TABLE IF NOT EXISTS traces (
    id TEXT PRIMARY KEY, at REAL NOT NULL, tenant TEXT NOT NULL, principal TEXT NOT NULL, release TEXT NOT NULL, role TEXT NOT NULL,
    pair TEXT NOT NULL, trace TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS traces_by_time ON traces (at);
CREATE INDEX IF NOT EXISTS traces_by_tenant ON traces (tenant, at);
CREATE TABLE IF NOT EXISTS documents (document TEXT NOT NULL, trace TEXT NOT NULL, PRIMARY KEY (document, trace)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS feedback (
    id TEXT PRIMARY KEY, trace TEXT NOT NULL, at REAL NOT NULL, tenant TEXT NOT NULL, principal TEXT NOT NULL, kind TEXT NOT NULL,
    value REAL, text TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS feedback_by_trace ON feedback (trace, at);
CREATE INDEX IF NOT EXISTS feedback_by_tenant ON feedback (tenant, at);
"""
_FOUND = "SELECT id, at, tenant, principal, release, role, pair, trace FROM traces"
_COUNTED = """
SELECT id, at, tenant, principal, release, role, pair, json_object(
    'milliseconds', json_extract(trace, '$.milliseconds'), 'first_token_ms', json_extract(trace, '$.first_token_ms'),
    'answer', json_object(
        'refused', json_extract(trace, '$.answer.refused'), 'confidence', json_extract(trace, '$.answer.confidence'),
        'degraded', json_extract(trace, '$.answer.degraded'), 'model', json_extract(trace, '$.answer.model')
    ),
    'draw', json_extract(trace, '$.draw'), 'disagreement', json_extract(trace, '$.disagreement'),
    'route', json_object('tier', json_extract(trace, '$.route.tier')), 'cache', json_extract(trace, '$.cache'),
    'usage', json_extract(trace, '$.usage'), 'stages', json_extract(trace, '$.stages'),
    'guard', (
        SELECT json_group_array(json_object(
            'side', json_extract(value, '$.side'), 'check', json_extract(value, '$.check'), 'rule', json_extract(value, '$.rule'),
            'action', json_extract(value, '$.action')
        )) FROM json_each(trace, '$.guard')
    )
) FROM traces
"""  # SQLite reads the texts, without holding this process's other threads up
_FEEDBACK = "SELECT id, trace, at, tenant, principal, kind, value, text FROM feedback"


class SqliteTraceStore:
    """A trace store in a file; what was put is there after the process is killed."""

    def __init__(self, path: Path) -> None:
        self.place = str(path)
        self._lock = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA secure_delete=ON")  # what is removed is overwritten
            self._connection.execute("PRAGMA synchronous=NORMAL")  # a kill loses nothing; a power cut at most the last entries
            self._connection.executescript(_SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise StoreError(f"The trace store {path} cannot be opened: {error}.") from error

    def put(self, traces: Sequence[TraceRecord]) -> None:
        """Store traces, all or none."""
        with self._transaction() as run:
            ids = json.dumps([record.id for record in traces])
            known = run(f"{_FOUND} WHERE id IN (SELECT value FROM json_each(?))", ids).fetchall()  # noqa: S608 — ours
            for replaced in map(self._record, known):
                for document in replaced.documents:  # by its key: `documents` grows with every trace, and has no index by trace
                    run("DELETE FROM documents WHERE document = ? AND trace = ?", document, replaced.id)
            for record in traces:
                run(
                    "INSERT OR REPLACE INTO traces VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    record.id, record.at, record.tenant, record.principal, record.release, record.role, record.pair,
                    json.dumps(record.trace, ensure_ascii=True),
                )  # fmt: skip
            # one statement for all: each gives the interpreter away, and must wait for it while questions are answered
            pairs = [(document, record.id) for record in traces for document in record.documents]
            run(
                "INSERT OR IGNORE INTO documents SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(?)",
                json.dumps(pairs),
            )

    def get(self, trace_id: str) -> TraceRecord | None:
        """A trace by its id."""
        with self._locked():
            row = self._connection.execute(f"{_FOUND} WHERE id = ?", (trace_id,)).fetchone()
        return self._record(row) if row else None

    def find(self, query: TraceQuery) -> list[TraceRecord]:
        """Traces, the newest first."""
        with self._locked():
            rows = _rows(self._connection, _FOUND, query)
        return [self._record(row) for row in rows]

    def summaries(self, query: TraceQuery) -> list[TraceSummary]:
        """What is counted of traces, in their order; by a connection of its own: thousands take a second, and nobody waits for it."""
        with self._sqlite_errors(), closing(sqlite3.connect(self.place, timeout=BUSY_S)) as connection:
            rows = _rows(connection, _COUNTED, query)
        return [TraceSummary.of(_counted(*row)) for row in rows]

    def put_feedback(self, feedback: Feedback) -> None:
        """Store feedback."""
        with self._transaction() as run:
            run(
                "INSERT OR REPLACE INTO feedback VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                feedback.id, feedback.trace_id, feedback.at, feedback.tenant, feedback.principal, feedback.kind, feedback.value,
                feedback.text,
            )  # fmt: skip

    def feedback(self, trace_id: str) -> list[Feedback]:
        """The feedback on an answer, the oldest first."""
        with self._locked():
            statement = f"{_FEEDBACK} WHERE trace = ? ORDER BY at DESC, id DESC LIMIT ?"
            rows = self._connection.execute(statement, (trace_id, FEEDBACK_SHOWN)).fetchall()
        return [Feedback(*row) for row in reversed(rows)]

    def recent_feedback(self, tenant: str, since: float, limit: int, *, complaints: bool = False) -> list[Feedback]:
        """The feedback since a time, the newest first."""
        with self._locked():
            only = " AND (kind = 'correction' OR (kind = 'thumbs' AND value = -1.0))" if complaints else ""
            statement = f"{_FEEDBACK} WHERE tenant = ? AND at >= ?{only} ORDER BY at DESC, id LIMIT ?"
            rows = self._connection.execute(statement, (tenant, since, limit)).fetchall()
        return [Feedback(*row) for row in rows]

    def forget_document(self, document_id: str) -> int:
        """Take a document's words out of every trace."""
        with self._transaction() as run:
            holding = [row[0] for row in run("SELECT trace FROM documents WHERE document = ?", document_id).fetchall()]
            for trace_id in holding:
                row = run(f"{_FOUND} WHERE id = ?", trace_id).fetchone()
                changed = self._record(row).without_words_of(document_id)
                run("UPDATE traces SET trace = ? WHERE id = ?", json.dumps(changed.trace, ensure_ascii=True), trace_id)
            run("DELETE FROM documents WHERE document = ?", document_id)
        if holding:
            with self._locked():  # the words are also in the log of what was written; where somebody reads it, the next one empties it
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return len(holding)

    def forget_before(self, at: float) -> int:
        """Remove what is older than a time."""
        with self._transaction() as run:
            for table in ("feedback", "documents"):
                run(f"DELETE FROM {table} WHERE trace IN (SELECT id FROM traces WHERE at < ?)", at)  # noqa: S608 — names of ours
            return int(run("DELETE FROM traces WHERE at < ?", at).rowcount)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    def _record(self, row: tuple[Any, ...]) -> TraceRecord:
        trace = json.loads(row[7])
        chunks = [hit["chunk"] for hit in (*trace.get("hits", ()), *trace.get("passages", ()))]
        documents = dict.fromkeys(chunk["document_id"] for chunk in chunks if chunk["text"] != REMOVED)
        ident, at, tenant, principal, release, role, pair = row[:7]
        return TraceRecord(ident, at, tenant, principal, release, role, pair, tuple(documents), trace)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with self._lock, self._sqlite_errors():
            yield

    @contextmanager
    def _sqlite_errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StoreError(f"The trace store {self.place} does not answer: {error}.") from error

    @contextmanager
    def _transaction(self) -> Iterator[Any]:
        with self._locked():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield lambda statement, *values: self._connection.execute(statement, values)
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise


def _counted(ident: str, at: float, tenant: str, principal: str, release: str, role: str, pair: str, parts: str) -> TraceRecord:
    return TraceRecord(ident, at, tenant, principal, release, role, pair, (), json.loads(parts))


def _rows(connection: sqlite3.Connection, select: str, query: TraceQuery) -> list[tuple[Any, ...]]:
    """What a statement selects of the traces asked for, in their order."""
    conditions = {
        "tenant = ?": query.tenant,
        "principal = ?": query.principal,
        "release = ?": query.release or None,
        "role = ?": query.role or None,
        "at >= ?": query.since,
        "at < ?": query.before,
    }
    if not query.failed:
        conditions["role <> ?"] = FAILED
    given = {condition: value for condition, value in conditions.items() if value is not None}
    where = f" WHERE {' AND '.join(given)}" if given else ""
    order = "ASC" if query.oldest_first else "DESC"
    return connection.execute(f"{select}{where} ORDER BY at {order}, id LIMIT ?", (*given.values(), query.limit)).fetchall()
