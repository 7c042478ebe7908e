"""The segments that one index configuration has of added documents, in a storage that replicas share.

Its keys are

    <prefix>/log/…                    which segments there are, as a log of changes
    <prefix>/segments/<name>.bin      a segment
    <prefix>/begun/…                  what is known of documents that are indexed in slices (see `BegunDocuments`)
    <prefix>/used                     a mark whose time says when somebody last served this configuration (see `retire_unused`)
"""

import json
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from serving.pipeline.errors import StoreError
from serving.pipeline.index.layered.begun import BegunDocuments
from serving.pipeline.index.layered.segment import Segment, SegmentRecipe
from serving.storage.base import Storage
from serving.storage.log import SNAPSHOT_EVERY, ChangeLog

FETCHED_AT_ONCE = 8
TRIES = 100
USED = "used"
MARKED = timedelta(days=1)  # between two marks of one process
ORPHANED = timedelta(hours=1)  # after which a segment that no log names is that of a writer that was killed


class Additions:
    """The segments of an index configuration; calls block. Whoever writes holds `lock`; reading needs none."""

    def __init__(
        self, storage: Storage, recipe: SegmentRecipe, *, prefix: str = "additions", now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self.recipe = recipe
        self.lock_key = f"{prefix}/{recipe.index}/indexing"
        self.storage = storage
        self._prefix = f"{prefix}/{recipe.index}"
        self.begun = BegunDocuments(storage, f"{self._prefix}/begun")
        self._log = ChangeLog(storage, f"{self._prefix}/log", now=now)
        self._now = now
        self._names: tuple[str, ...] = ()
        self._revision = 0
        self._segments: dict[str, Segment] = {}
        self._marked_at: datetime | None = None

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The segments at the last refresh, in the order in which they came."""
        return tuple(self._segments[name] for name in self._names)

    @property
    def revision(self) -> int:
        """Changes with every change of the segments."""
        return self._revision

    def refresh(self) -> bool:
        """Take in what was added and merged since; whether anything was."""
        for _ in range(TRIES):
            logged = self._log.after(self._revision)
            names, revision = self._names, self._revision
            if logged is not None:
                names = tuple(json.loads(logged.snapshot)) if logged.snapshot is not None else names
                for change in logged.changes:
                    names = _changed(names, change)
                revision = logged.revision
            elif all(name in self._segments for name in names):
                return False
            if self._fetch(names):
                self._names, self._revision = names, revision
                self._segments = {name: self._segments[name] for name in names}
                return True
        raise StoreError(
            f"{self.storage.place}/{self._prefix}: segments of added documents are gone. "
            "Stop the servers and remove that folder: it is made anew."
        )

    def replace(self, gone: Iterable[str], data: bytes | None) -> None:
        """Add a segment, and take others away, in one change."""
        name = f"{self._now():%Y%m%dT%H%M%S}-{uuid4().hex[:12]}"
        removed = list(gone)
        if data is not None:
            self.storage.put(self._key(name), data)
        change = segments_change([name] if data is not None else [], removed)
        for _ in range(TRIES):
            self.refresh()
            if not set(removed) <= set(self._names):  # another writer, after a lease was lost, was first
                if data is not None:
                    self.storage.delete(self._key(name))
                return
            if self._log.append(self._revision, change):
                break
        else:
            raise StoreError(f"{self.storage.place}/{self._prefix}: other writers were first {TRIES} times in a row. Try again.")
        if data is not None:
            self._segments[name] = Segment.of(name, data, self.recipe)
        self.refresh()
        if self._revision % SNAPSHOT_EVERY == 0:
            self._log.write_snapshot(self._revision, json.dumps(self._names).encode())
        for old in removed:  # a replica that still wanted one reads the log again
            self.storage.delete(self._key(old))

    def mark_used(self) -> None:
        """Say that this configuration is served, at most once a day; a mark that could not be written is tried again a day later."""
        if self._marked_at is not None and abs(self._now() - self._marked_at) < MARKED:
            return
        self._marked_at = self._now()
        self.storage.put(f"{self._prefix}/{USED}", b"")

    def remove_orphans(self) -> int:
        """Remove the segments of writers that were killed before they logged them; how many."""
        self.refresh()
        removed = 0
        for entry in self.storage.list(f"{self._prefix}/segments/"):
            name = entry.key.rpartition("/")[2].removesuffix(".bin")
            if name not in self._segments and entry.modified < self._now() - ORPHANED:
                self.storage.delete(entry.key)
                removed += 1
        return removed

    def _fetch(self, names: Iterable[str]) -> bool:
        """Read the segments that are not in memory; whether all of them were there."""
        missing = [name for name in names if name not in self._segments]
        if not missing:
            return True
        with ThreadPoolExecutor(FETCHED_AT_ONCE) as pool:
            blobs = list(pool.map(lambda name: self.storage.get(self._key(name)), missing))
        for name, blob in zip(missing, blobs, strict=True):
            if blob is not None:
                self._segments[name] = Segment.of(name, blob.data, self.recipe)
        return all(blob is not None for blob in blobs)

    def _key(self, name: str) -> str:
        return f"{self._prefix}/segments/{name}.bin"


def listed_segments(log: ChangeLog) -> tuple[tuple[str, ...], int]:
    """The names of the segments that a log comes to, and its revision; nothing is fetched."""
    logged = log.after(0)
    if logged is None:
        return (), 0
    names = tuple(json.loads(logged.snapshot)) if logged.snapshot is not None else ()
    for change in logged.changes:
        names = _changed(names, change)
    return names, logged.revision


def segments_change(added: Iterable[str] = (), removed: Iterable[str] = ()) -> bytes:
    """A change as the log has it."""
    return json.dumps({"add": list(added), "remove": list(removed)}).encode()


def _changed(names: tuple[str, ...], change: bytes) -> tuple[str, ...]:
    logged_change = json.loads(change)
    gone = set(logged_change["remove"])
    return (*(name for name in names if name not in gone), *logged_change["add"])
