"""Indexes that no release uses, left by evaluations and sweeps."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath

from harness.settings import HarnessSettings
from serving.pipeline.errors import IntegrityError
from serving.pipeline.index.manifest import FILE, index_storage
from serving.release.bundle import load_release, open_releases, releases
from serving.storage.base import Storage

UNFINISHED = timedelta(days=1)  # a build that takes longer than this has ended without a manifest


@dataclass(frozen=True, slots=True)
class UnusedIndex:
    """An index by its recipe; its files are known by their keys."""

    recipe: str
    changed_at: datetime
    bytes: int
    whole: bool  # False: a build that ended before its manifest
    keys: tuple[str, ...]


def unused_indexes(settings: HarnessSettings, *, unused_days: int, now: datetime | None = None) -> list[UnusedIndex]:
    """Indexes that were last changed so many days ago and that no release uses, oldest first.

    A release that cannot be read ends the search: its index is unknown, and must not be removed.
    """
    now = now or datetime.now(UTC)
    used = _used(settings)
    found = []
    for recipe, entries in _by_recipe(index_storage(settings.index_root, settings)).items():
        changed_at = max(modified for _, _, modified in entries)
        whole = any(key == f"{recipe}/{FILE}" for key, _, _ in entries)
        patience = timedelta(days=unused_days) if whole else max(UNFINISHED, timedelta(days=unused_days))
        if recipe not in used and now - changed_at >= patience:
            found.append(UnusedIndex(recipe, changed_at, sum(size for _, size, _ in entries), whole, tuple(key for key, _, _ in entries)))
    return sorted(found, key=lambda index: (index.changed_at, index.recipe))


def remove_index(settings: HarnessSettings, index: UnusedIndex) -> None:
    """Remove an index, its manifest first, so that an interrupted removal leaves no valid index."""
    storage = index_storage(settings.index_root, settings)
    manifest = f"{index.recipe}/{FILE}"
    for key in sorted(index.keys, key=lambda key: (key != manifest, key)):
        storage.delete(key)


def _used(settings: HarnessSettings) -> set[str]:
    storage = open_releases(settings.releases, settings)
    used = set()
    for digest in releases(storage):
        try:
            used.add(load_release(storage, digest).index.recipe)
        except IntegrityError as error:
            raise IntegrityError(f"{error} Nothing was removed: what this release stands on is not known.") from None
    return used


def _by_recipe(storage: Storage) -> dict[str, list[tuple[str, int, datetime]]]:
    folders: dict[str, list[tuple[str, int, datetime]]] = {}
    for entry in storage.list():
        folders.setdefault(PurePosixPath(entry.key).parts[0], []).append((entry.key, entry.size, entry.modified))
    return folders
