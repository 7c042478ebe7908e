"""The stage store on this machine: one SQLite file, safe under several processes and after a kill."""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from harness.stage_store.base import HitCounts, StageSize
from serving.pipeline.errors import StoreError

SECONDS_A_DAY = 86_400
AT_ONCE = 500  # keys in one question; SQLite takes far more, but a statement should stay readable in its log
BUSY_S = 60.0  # patience with another process that is writing
PAUSE_S = 0.01

_SCHEMA = """
CREATE TABLE IF NOT EXISTS kept (
    stage TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, used_day INTEGER NOT NULL,
    PRIMARY KEY (stage, key)
) WITHOUT ROWID
"""


def _today() -> int:
    return int(time.time() // SECONDS_A_DAY)


class SqliteStageStore:
    """A stage store in `<folder>/stages.db`."""

    def __init__(self, folder: Path, today: Callable[[], int] = _today) -> None:
        self.counts = HitCounts()
        self._today = today
        self.path = folder / "stages.db"
        self.place = str(self.path)
        self._lock = threading.Lock()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with self._guarded():
                self._base = sqlite3.connect(self.path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
                self._base.execute("PRAGMA page_size=8192")  # of a new file; with 4 KB a vector of 1.5 KB takes a page of its own
                self._log_ahead()
                self._base.execute("PRAGMA synchronous=NORMAL")  # a kill loses nothing; a power cut at most the last entries
                self._base.execute(_SCHEMA)
        except OSError as error:
            raise StoreError(f"The stage store {self.path} cannot be made: {error.strerror or error}.") from error

    def get(self, stage: str, key: str) -> bytes | None:
        """What is kept, or `None`."""
        return self.get_many(stage, [key]).get(key)

    def put(self, stage: str, key: str, value: bytes) -> None:
        """Keep a value; the first one of a key stays."""
        self.put_many(stage, {key: value})

    def get_many(self, stage: str, keys: Sequence[str]) -> dict[str, bytes]:
        """What is kept of these keys."""
        found: dict[str, bytes] = {}
        stale: list[str] = []
        wanted, today = list(dict.fromkeys(keys)), self._today()
        with self._guarded():
            for begin in range(0, len(wanted), AT_ONCE):
                some = wanted[begin : begin + AT_ONCE]
                marks = ",".join("?" * len(some))
                question = f"SELECT key, value, used_day FROM kept WHERE stage = ? AND key IN ({marks})"  # noqa: S608 — question marks only
                rows = self._base.execute(question, (stage, *some))
                for key, value, day in rows:
                    found[key] = value
                    if day != today:
                        stale.append(key)
            if stale:
                self._base.executemany("UPDATE kept SET used_day = ? WHERE stage = ? AND key = ?", [(today, stage, key) for key in stale])
        self.counts.add(stage, len(found), len(wanted) - len(found))
        return found

    def put_many(self, stage: str, values: Mapping[str, bytes]) -> None:
        """Keep several values in one transaction."""
        if not values:
            return
        today = self._today()
        with self._guarded():
            self._base.execute("BEGIN IMMEDIATE")
            try:
                rows = [(stage, key, value, today) for key, value in values.items()]
                self._base.executemany("INSERT OR IGNORE INTO kept VALUES (?, ?, ?, ?)", rows)
                self._base.execute("COMMIT")
            except BaseException:
                if self._base.in_transaction:  # of a full disk SQLite takes everything back by itself
                    self._base.execute("ROLLBACK")
                raise

    def sizes(self) -> list[StageSize]:
        """How much is kept, by stage."""
        today = self._today()
        with self._guarded():
            rows = self._base.execute("SELECT stage, COUNT(*), SUM(LENGTH(value)), MIN(used_day) FROM kept GROUP BY stage ORDER BY stage")
            return [StageSize(stage, count, size, today - day) for stage, count, size, day in rows]

    def remove(self, *, stage: str = "", unused_days: int = 0) -> int:
        """Forget what was not used for so many days, of one stage or of all; returns how many entries, and gives the room back."""
        where = "used_day <= ?" + (" AND stage = ?" if stage else "")
        values: tuple[object, ...] = (self._today() - unused_days, *([stage] if stage else []))
        with self._guarded():
            count = self._base.execute(f"DELETE FROM kept WHERE {where}", values).rowcount  # noqa: S608 — both forms stand above
            self._base.execute("VACUUM")
            self._base.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return int(count)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._base.close()

    def _log_ahead(self) -> None:
        """Turn WAL mode on; while another process does so with a new file, SQLite is busy without waiting as it does otherwise."""
        end_s = time.monotonic() + BUSY_S
        while True:
            try:
                self._base.execute("PRAGMA journal_mode=WAL")
                return
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > end_s:
                    raise
            time.sleep(PAUSE_S)

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """One thread at a time; what SQLite says becomes a `StoreError` that names the mend."""
        with self._lock:
            try:
                yield
            except sqlite3.DatabaseError as error:
                mend = "If it is damaged, remove it: it holds nothing that cannot be computed again."
                raise StoreError(f"The stage store {self.path} failed: {error}. {mend}") from error
