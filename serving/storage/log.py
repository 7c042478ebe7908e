"""A log of numbered changes in a storage: every replica that follows it comes to the same state.

A change is appended by a conditional write of the next number, so of two writers one is first and no change is ever half there.
From time to time a writer adds a snapshot of the state; what a snapshot covers is removed after a while.

    <prefix>/changes/000000000123.json       a change
    <prefix>/snapshots/000000000100.json     the state after the change of that number
    <prefix>/snapshot.json                   the number of the newest snapshot
"""

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from serving.pipeline.errors import StoreError
from serving.storage.base import Storage

SNAPSHOT_EVERY = 64  # changes
SNAPSHOT_LOOKS = 3  # for a snapshot that a newer one may have replaced meanwhile
SNAPSHOT_CHECK_S = 30.0  # between two looks whether the next change is missing because a snapshot made it superfluous
GRACE = timedelta(minutes=10)  # how long a change is kept that a snapshot covers, for replicas that are still reading


@dataclass(frozen=True, slots=True)
class LogTail:
    """What a log holds beyond a revision: a newer snapshot to begin from, where there is one, and the changes after it."""

    snapshot: bytes | None
    changes: tuple[bytes, ...]
    revision: int  # of the last of these


class ChangeLog:
    """The log below a prefix of a storage."""

    def __init__(
        self,
        storage: Storage,
        prefix: str,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self._storage = storage
        self._prefix = prefix
        self._now = now
        self._seconds = seconds
        self._checked_at = -math.inf  # when the newest snapshot was last looked for

    def after(self, revision: int) -> LogTail | None:
        """What was logged after a revision; `None` where nothing was, which takes one request, and a second one now and then."""
        changes = self._changes(revision)
        if changes:
            return LogTail(None, tuple(changes), revision + len(changes))
        if self._seconds() - self._checked_at < SNAPSHOT_CHECK_S:
            return None
        for _ in range(SNAPSHOT_LOOKS):
            newest = self._newest_snapshot()
            if newest <= revision:
                self._checked_at = self._seconds()
                return None
            if (blob := self._storage.get(self._snapshot_key(newest))) is not None:
                changes = self._changes(newest)
                return LogTail(blob.data, tuple(changes), newest + len(changes))
        missing = f"{self._storage.place}/{self._snapshot_key(newest)}"
        raise StoreError(f"{missing} is not there, and snapshot.json names it. Bring it back from an earlier version or a backup.")

    def append(self, revision: int, change: bytes) -> bool:
        """Log the change after a revision; whether no other writer was first."""
        if self._storage.put_if(self._change_key(revision + 1), change, expected=None) is None:
            self._checked_at = -math.inf
            return False
        if self._newest_snapshot() > revision:  # this writer slept so long that its place in the log had been tidied away
            self._storage.delete(self._change_key(revision + 1))
            self._checked_at = -math.inf
            return False
        return True

    def write_snapshot(self, revision: int, state: bytes) -> None:
        """Keep the state after a revision, and remove what it and the grace make superfluous."""
        before = self._newest_snapshot()
        if revision <= before:
            return
        self._storage.put(self._snapshot_key(revision), state)
        pointer = f"{self._prefix}/snapshot.json"
        blob = self._storage.get(pointer)
        if self._storage.put_if(pointer, json.dumps({"revision": revision}).encode(), expected=blob.version if blob else None) is None:
            return  # another writer made one: its own will do
        self._drop(changes=before, snapshots=before - 1)

    def drop_covered(self) -> None:
        """Remove all but the newest snapshot and what came after it, and what the grace keeps."""
        newest = self._newest_snapshot()
        self._drop(changes=newest, snapshots=newest - 1)

    def _drop(self, *, changes: int, snapshots: int) -> None:
        """Remove changes and snapshots up to these numbers, the first ones first: a reader that misses one looks for the snapshot."""
        for folder, last in (("changes", changes), ("snapshots", snapshots)):
            for entry in self._storage.list(f"{self._prefix}/{folder}/"):
                if _number(entry.key) <= last and entry.modified < self._now() - GRACE:
                    self._storage.delete(entry.key)

    def _changes(self, revision: int) -> list[bytes]:
        changes: list[bytes] = []
        while (blob := self._storage.get(self._change_key(revision + len(changes) + 1))) is not None:
            changes.append(blob.data)
        return changes

    def _newest_snapshot(self) -> int:
        blob = self._storage.get(f"{self._prefix}/snapshot.json")
        if blob is None:
            return 0
        try:
            return int(json.loads(blob.data)["revision"])
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(f"{self._storage.place}/{self._prefix}/snapshot.json is damaged: {error}.") from None

    def _change_key(self, revision: int) -> str:
        return f"{self._prefix}/changes/{revision:012d}.json"

    def _snapshot_key(self, revision: int) -> str:
        return f"{self._prefix}/snapshots/{revision:012d}.json"


def _number(key: str) -> int:
    name = key.rpartition("/")[2].removesuffix(".json")
    return int(name) if name.isdigit() else 2**62  # not one of ours: left alone
