"""The stage store on this machine: one SQLite file, safe under several processes and after a kill."""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness.stage_store.base import HitCounts, StageSize, StageStore, value_sum
from serving.pipeline.errors import StoreError

SECONDS_A_DAY = 86_400
KEYS_PER_STATEMENT = 500  # SQLite takes far more, but a statement should stay readable in its log
BUSY_S = 60.0  # to wait for another process that is writing
RETRY_S = 0.01

_SCHEMA = """
CREATE TABLE IF NOT EXISTS kept (
    stage TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, used_day INTEGER NOT NULL, sum BLOB, written_s REAL NOT NULL DEFAULT 0,
    PRIMARY KEY (stage, key)
) WITHOUT ROWID
"""

# the first value of a key stays, unless it is damaged
_PUT = """
INSERT INTO kept (stage, key, value, used_day, sum, written_s) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (stage, key) DO UPDATE SET value = excluded.value, sum = excluded.sum, written_s = excluded.written_s
WHERE value_sum(kept.stage, kept.key, kept.value) IS NOT kept.sum
"""


def _sum(stage: object, key: object, value: object) -> bytes | None:
    """The checksum of a row, or none for one whose values are not of the types they were stored with."""
    return value_sum(stage, key, value) if isinstance(stage, str) and isinstance(key, str) and isinstance(value, bytes) else None


def _today() -> int:
    return int(time.time() // SECONDS_A_DAY)


@dataclass(frozen=True, slots=True)
class ReadValues:
    """What was there of some keys, and how many of them this run had written itself."""

    values: dict[str, bytes]
    again: int


class SqliteStageStore(StageStore):
    """A stage store in `<folder>/stages.db`."""

    def __init__(self, folder: Path, today: Callable[[], int] = _today, *, began_s: float | None = None) -> None:
        self.counts = HitCounts()
        self._today = today
        self._began_s = time.time() if began_s is None else began_s  # of the run: what was written since is its own
        self.path = folder / "stages.db"
        self.place = str(self.path)
        self._lock = threading.Lock()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with self._locked():
                self._connection = sqlite3.connect(self.path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
                self._connection.execute("PRAGMA page_size=8192")  # of a new file; with 4 KB a vector of 1.5 KB takes a page of its own
                self._enable_wal()
                self._connection.execute("PRAGMA synchronous=NORMAL")  # a kill loses nothing; a power cut at most the last entries
                self._connection.create_function("value_sum", 3, _sum, deterministic=True)
                self._connection.execute(_SCHEMA)
                self._add_columns()
        except OSError as error:
            raise StoreError(f"The stage store {self.path} cannot be made: {error.strerror or error}.") from error

    def get_many(self, stage: str, keys: Sequence[str]) -> dict[str, bytes]:
        """The values of those keys that are there."""
        found = self.read(stage, keys)
        self.counts.add(stage, len(found.values), len(set(keys)) - len(found.values), found.again)
        return found.values

    def read(self, stage: str, keys: Sequence[str]) -> ReadValues:
        """The values of those keys that are there; it counts no hits and misses, for a store over this one."""
        values: dict[str, bytes] = {}
        unused_today: list[str] = []
        again = 0
        damaged: list[tuple[str, str, object]] = []
        distinct, today = list(dict.fromkeys(keys)), self._today()
        with self._locked():
            for start in range(0, len(distinct), KEYS_PER_STATEMENT):
                batch = distinct[start : start + KEYS_PER_STATEMENT]
                placeholders = ",".join("?" * len(batch))
                # only question marks are put in
                statement = f"SELECT key, value, used_day, sum, written_s FROM kept WHERE stage = ? AND key IN ({placeholders})"  # noqa: S608 — question marks only
                rows = self._connection.execute(statement, (stage, *batch))
                for key, value, day, stored_sum, written_s in rows:
                    if stored_sum is None or _sum(stage, key, value) != stored_sum:
                        damaged.append((stage, key, value))
                        continue
                    values[key] = value
                    again += written_s >= self._began_s
                    if day != today:
                        unused_today.append(key)
            if damaged:  # removed, so that the value computed next is stored
                self._connection.executemany("DELETE FROM kept WHERE stage = ? AND key = ? AND value IS ?", damaged)
            if unused_today:
                self._connection.executemany(
                    "UPDATE kept SET used_day = ? WHERE stage = ? AND key = ?", [(today, stage, key) for key in unused_today]
                )
        if damaged:
            self.counts.add_damaged(stage, len(damaged), self.place)
        return ReadValues(values, again)

    def put_many(self, stage: str, values: Mapping[str, bytes]) -> None:
        """Store several values in one transaction."""
        self.put_written(stage, values, time.time())

    def put_written(self, stage: str, values: Mapping[str, bytes], written_s: float) -> None:
        """The same for values that were computed at a time; 0 is long ago."""
        if not values:
            return
        today = self._today()
        with self._locked():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                rows = [(stage, key, value, today, value_sum(stage, key, value), written_s) for key, value in values.items()]
                self._connection.executemany(_PUT, rows)
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:  # on a full disk SQLite rolls back by itself
                    self._connection.execute("ROLLBACK")
                raise

    def sizes(self) -> list[StageSize]:
        """How much is stored, by stage."""
        today = self._today()
        with self._locked():
            rows = self._connection.execute(
                "SELECT stage, COUNT(*), SUM(LENGTH(value)), MIN(used_day) FROM kept GROUP BY stage ORDER BY stage"
            )
            return [StageSize(stage, count, size, today - day) for stage, count, size, day in rows]

    def remove(self, *, stage: str = "", unused_days: int = 0) -> int:
        """Remove entries of a stage (or of all) that were not used for so many days, and free their space; returns how many."""
        where = "used_day <= ?" + (" AND stage = ?" if stage else "")
        values: tuple[object, ...] = (self._today() - unused_days, *([stage] if stage else []))
        with self._locked():
            count = self._connection.execute(f"DELETE FROM kept WHERE {where}", values).rowcount  # noqa: S608 — both forms stand above
            self._connection.execute("VACUUM")
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return int(count)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    def _add_columns(self) -> None:
        """Give a file of an earlier version the columns it lacks, and its values their sums, once."""
        if not self._missing_columns():
            return
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            missing = self._missing_columns()  # fewer where another process was first
            if "written_s" in missing:
                self._connection.execute("ALTER TABLE kept ADD COLUMN written_s REAL NOT NULL DEFAULT 0")
            if "sum" in missing:
                self._connection.execute("ALTER TABLE kept ADD COLUMN sum BLOB")
                self._connection.execute("UPDATE kept SET sum = value_sum(stage, key, value)")
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def _missing_columns(self) -> set[str]:
        return {"sum", "written_s"} - {name for _, name, *_ in self._connection.execute("PRAGMA table_info(kept)")}

    def _enable_wal(self) -> None:
        """Turn WAL mode on; retried, since SQLite does not wait for another process that does the same with a new file."""
        end_s = time.monotonic() + BUSY_S
        while True:
            try:
                self._connection.execute("PRAGMA journal_mode=WAL")
                return
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > end_s:
                    raise
            time.sleep(RETRY_S)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One thread at a time; an error of SQLite becomes a `StoreError` that says how to mend it."""
        with self._lock:
            try:
                yield
            except sqlite3.DatabaseError as error:
                mend = "If it is damaged, remove it: it holds nothing that cannot be computed again."
                raise StoreError(f"The stage store {self.path} failed: {error}. {mend}") from error
