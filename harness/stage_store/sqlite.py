"""The stage store on this machine: one SQLite file, safe under several processes and after a kill."""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from harness.stage_store.base import HitCounts, StageSize, StageStore, value_sum
from serving.pipeline.errors import StoreError

SECONDS_A_DAY = 86_400
KEYS_PER_STATEMENT = 500  # SQLite takes far more, but a statement should stay readable in its log
BUSY_S = 60.0  # to wait for another process that is writing
RETRY_S = 0.01

_SCHEMA = """
CREATE TABLE IF NOT EXISTS kept (
    stage TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, used_day INTEGER NOT NULL, sum BLOB,
    PRIMARY KEY (stage, key)
) WITHOUT ROWID
"""

# the first value of a key stays, unless it is damaged
_PUT = """
INSERT INTO kept (stage, key, value, used_day, sum) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (stage, key) DO UPDATE SET value = excluded.value, sum = excluded.sum
WHERE value_sum(kept.stage, kept.key, kept.value) IS NOT kept.sum
"""


def _sum(stage: object, key: object, value: object) -> bytes | None:
    """The checksum of a row, or none for one whose values are not of the types they were stored with."""
    return value_sum(stage, key, value) if isinstance(stage, str) and isinstance(key, str) and isinstance(value, bytes) else None


def _today() -> int:
    return int(time.time() // SECONDS_A_DAY)


class SqliteStageStore(StageStore):
    """A stage store in `<folder>/stages.db`."""

    def __init__(self, folder: Path, today: Callable[[], int] = _today) -> None:
        self.counts = HitCounts()
        self._today = today
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
                self._add_sums()
        except OSError as error:
            raise StoreError(f"The stage store {self.path} cannot be made: {error.strerror or error}.") from error

    def get_many(self, stage: str, keys: Sequence[str]) -> dict[str, bytes]:
        """The values of those keys that are there."""
        values: dict[str, bytes] = {}
        unused_today: list[str] = []
        damaged: list[tuple[str, str, object]] = []
        distinct, today = list(dict.fromkeys(keys)), self._today()
        with self._locked():
            for start in range(0, len(distinct), KEYS_PER_STATEMENT):
                batch = distinct[start : start + KEYS_PER_STATEMENT]
                placeholders = ",".join("?" * len(batch))
                # only question marks are put in
                statement = f"SELECT key, value, used_day, sum FROM kept WHERE stage = ? AND key IN ({placeholders})"  # noqa: S608
                rows = self._connection.execute(statement, (stage, *batch))
                for key, value, day, stored_sum in rows:
                    if stored_sum is None or _sum(stage, key, value) != stored_sum:
                        damaged.append((stage, key, value))
                        continue
                    values[key] = value
                    if day != today:
                        unused_today.append(key)
            if damaged:  # removed, so that the value computed next is stored
                self._connection.executemany("DELETE FROM kept WHERE stage = ? AND key = ? AND value IS ?", damaged)
            if unused_today:
                self._connection.executemany(
                    "UPDATE kept SET used_day = ? WHERE stage = ? AND key = ?", [(today, stage, key) for key in unused_today]
                )
        self.counts.add(stage, len(values), len(distinct) - len(values))
        if damaged:
            self.counts.add_damaged(stage, len(damaged), self.place)
        return values

    def put_many(self, stage: str, values: Mapping[str, bytes]) -> None:
        """Store several values in one transaction."""
        if not values:
            return
        today = self._today()
        with self._locked():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                rows = [(stage, key, value, today, value_sum(stage, key, value)) for key, value in values.items()]
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

    def _add_sums(self) -> None:
        """Give the values of a file from before there were sums theirs, once."""
        if self._has_sums():
            return
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            if not self._has_sums():  # else another process was first
                self._connection.execute("ALTER TABLE kept ADD COLUMN sum BLOB")
                self._connection.execute("UPDATE kept SET sum = value_sum(stage, key, value)")
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def _has_sums(self) -> bool:
        return any(column[1] == "sum" for column in self._connection.execute("PRAGMA table_info(kept)"))

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
