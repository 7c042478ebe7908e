"""The audit trail in one SQLite file of this machine."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from serving.audit.record import AuditedAct, AuditEntry, AuditOutcome, AuditQuery
from serving.pipeline.errors import StoreError

BUSY_S = 10.0  # to wait for another process that is writing
PRUNED = 10  # entries that go with a new one, at most: enough to keep up, and a clock that is wrong for an hour does not empty the trail

_SCHEMA = """
CREATE TABLE IF NOT EXISTS entries (
    place TEXT PRIMARY KEY, id TEXT NOT NULL UNIQUE, at REAL NOT NULL, tenant TEXT NOT NULL, who TEXT NOT NULL, source TEXT NOT NULL,
    action TEXT NOT NULL, subject TEXT NOT NULL, details TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS entries_by_tenant ON entries (tenant, place);
CREATE TABLE IF NOT EXISTS outcomes (
    place TEXT PRIMARY KEY, at REAL NOT NULL, ending TEXT NOT NULL, reason TEXT NOT NULL, details TEXT NOT NULL
) WITHOUT ROWID;
CREATE TRIGGER IF NOT EXISTS entries_stay BEFORE UPDATE ON entries BEGIN SELECT RAISE(ABORT, 'an entry is never changed'); END;
CREATE TRIGGER IF NOT EXISTS outcomes_stay BEFORE UPDATE ON outcomes BEGIN SELECT RAISE(ABORT, 'an outcome is never changed'); END;
"""
_ENTRY = "id, at, tenant, who, source, action, subject, details"
_FOUND = """
SELECT e.id, e.at, e.tenant, e.who, e.source, e.action, e.subject, e.details, o.at, o.ending, o.reason, o.details
FROM entries e LEFT JOIN outcomes o ON o.place = e.place
"""


class SqliteAuditStore:
    """A trail in a file. It is opened for every call: acts are rare, and a file that was taken away in between is noticed."""

    def __init__(self, path: Path, *, retention_s: float) -> None:
        self.place = str(path)
        self._path = path
        self._retention_s = retention_s

    def append(self, entry: AuditEntry) -> None:
        """Write an entry, and remove some of those that are too old by its time."""
        row = (entry.id, entry.at, entry.tenant, entry.who, entry.source, entry.action, entry.subject, _text(entry.details))
        oldest = AuditQuery("", since=entry.at - self._retention_s).places[0]
        with self._transaction() as connection:
            old = connection.execute("SELECT place FROM entries WHERE place < ? ORDER BY place LIMIT ?", (oldest, PRUNED)).fetchall()
            for table in ("outcomes", "entries"):
                connection.executemany(f"DELETE FROM {table} WHERE place = ?", old)  # noqa: S608 — names of ours
            kept = connection.execute(f"SELECT {_ENTRY} FROM entries WHERE id = ?", (entry.id,)).fetchone()  # noqa: S608 — columns of ours
            if kept is None:
                connection.execute("INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", (entry.place, *row))
            elif kept != row:
                raise StoreError(f"The audit trail {self.place} has another entry {entry.id}; it stays as it is.")

    def append_outcome(self, entry: AuditEntry, outcome: AuditOutcome) -> None:
        """Write how it ended, where nothing is written of that yet."""
        row = (entry.place, outcome.at, outcome.ending, outcome.reason, _text(outcome.details))
        with self._transaction() as connection:
            connection.execute("INSERT OR IGNORE INTO outcomes VALUES (?, ?, ?, ?, ?)", row)

    def find(self, query: AuditQuery) -> list[AuditedAct]:
        """Acts, the newest first."""
        first, end = query.places
        conditions = {"e.tenant = ?": query.tenant, "e.place >= ?": first, "e.place < ?": end}
        asked = {"e.who = ?": query.who, "e.action = ?": query.action, "e.subject = ?": query.subject}
        conditions |= {condition: value for condition, value in asked.items() if value}
        with self._sqlite_errors():
            try:
                self._path.stat()
            except FileNotFoundError:  # nothing was done yet
                return []
            with closing(self._opened()) as connection:
                statement = f"{_FOUND} WHERE {' AND '.join(conditions)} ORDER BY e.place DESC LIMIT ?"
                rows = connection.execute(statement, (*conditions.values(), query.limit)).fetchall()
        return [_act(row) for row in rows]

    def _opened(self) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        # whole, since SQLite takes :memory: for no file at all, and an act would be written down nowhere
        connection = sqlite3.connect(self._path.absolute(), timeout=BUSY_S, isolation_level=None)
        try:
            connection.execute("PRAGMA synchronous=FULL")  # what is written is there after a power cut too
            if not connection.execute("PRAGMA user_version").fetchone()[0]:
                connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version=1; COMMIT;")
        except BaseException:
            connection.close()
            raise
        return connection

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._sqlite_errors(), closing(self._opened()) as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    @contextmanager
    def _sqlite_errors(self) -> Iterator[None]:
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            raise StoreError(f"The audit trail {self.place} does not answer: {error}.") from error


def _text(details: Any) -> str:
    return json.dumps(dict(details), ensure_ascii=True)


def _act(row: tuple[Any, ...]) -> AuditedAct:
    ident, at, tenant, who, source, action, subject, details, ended_at, ending, reason, result = row
    entry = AuditEntry(ident, at, tenant, who, source, action, subject, json.loads(details))
    return AuditedAct(entry, None if ended_at is None else AuditOutcome(ended_at, ending, reason, json.loads(result)))
