"""Takes the words out of index configurations that nobody serves any more: there nobody drops the rows of documents that are deleted.

Whoever serves a configuration keeps its mark fresh (`Additions.mark_used`). Where the mark is old, all segments are taken away by one more
change of the log, which whoever still has them in memory follows, and what was begun is removed. The end of the log stays, a few names in
two small objects: a server that comes back to the configuration, at whatever moment, goes on from there and indexes anew.
"""

from collections.abc import Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

from serving.pipeline.errors import LockedError
from serving.pipeline.index.layered.additions import ORPHANED, USED, listed_segments, segments_change
from serving.storage.base import Entry, Storage
from serving.storage.log import GRACE, ChangeLog

UNUSED = timedelta(days=7)  # far more than the day after which a mark is written again
REQUESTS = 8  # to the storage at a time


def retire_unused(storage: Storage, kept: Collection[str], *, prefix: str = "additions") -> list[str]:
    """Empty the configurations that are none of those kept and that nobody marked as used for a week; which. Calls block.

    It lists what is below the prefix, once. Times are compared with the newest one there, so that no clock but the storage's own counts.
    """
    entries = list(storage.list(f"{prefix}/"))
    if not entries:
        return []
    now = max(entry.modified for entry in entries)
    folders: dict[str, list[Entry]] = {}
    for entry in entries:
        folders.setdefault(entry.key.removeprefix(f"{prefix}/").partition("/")[0], []).append(entry)
    retired = []
    for recipe, inside in folders.items():
        folder = f"{prefix}/{recipe}"
        if recipe in kept or not _is_unused(folder, inside, now) or not _removable(folder, inside, now):
            continue
        try:
            with storage.lock(f"{folder}/indexing", wait=False):
                inside = list(storage.list(f"{folder}/"))  # it may have been marked meanwhile
                if _is_unused(folder, inside, now) and _retire(storage, folder, now):
                    retired.append(recipe)
        except LockedError:  # somebody indexes there
            continue
    return retired


def _is_unused(folder: str, inside: Iterable[Entry], now: datetime) -> bool:
    """By the mark; where there is none, by the newest of the rest but the lock, which this very module writes."""
    times = {entry.key: entry.modified for entry in inside if entry.key != f"{folder}/indexing.lock"}
    if not times:
        return False
    return times.get(f"{folder}/{USED}", max(times.values())) < now - UNUSED


def _removable(folder: str, inside: Iterable[Entry], now: datetime) -> bool:
    """Whether there is more than the end of a log."""
    return any(
        entry.key.startswith((f"{folder}/segments/", f"{folder}/begun/"))
        or (entry.key.startswith(f"{folder}/log/changes/") and entry.modified < now - GRACE)
        for entry in inside
    )


def _retire(storage: Storage, folder: str, now: datetime) -> bool:
    """Log that all segments are gone, then remove them; killed on the way, the next call goes on. Whether there was anything."""
    log = ChangeLog(storage, f"{folder}/log", now=lambda: now)
    names, revision = listed_segments(log)
    if names:
        if not log.append(revision, segments_change(removed=names)):
            return False  # another writer was first: it is used
        revision += 1
    if revision:
        log.write_snapshot(revision, b"[]")
        log.drop_covered()
    logged = [f"{folder}/segments/{name}.bin" for name in names]
    unlogged = [entry.key for entry in storage.list(f"{folder}/segments/") if entry.modified < now - ORPHANED]
    begun = [entry.key for entry in storage.list(f"{folder}/begun/")]
    removed = {*logged, *unlogged, *begun}
    with ThreadPoolExecutor(REQUESTS) as pool:
        list(pool.map(storage.delete, sorted(removed)))
    return bool(removed)
