"""The sums of an index's files: names, sizes and SHA-256 of all that its store wrote, in `<data>.files.json` beside the manifest."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from serving.pipeline.digest import sha256_file
from serving.pipeline.errors import IntegrityError, StoreError
from serving.storage.base import Entry, Storage, Streams
from serving.storage.place import below, is_remote


def sums_key(data: str) -> str:
    """Where the sums of a store's files lie: builders at the same time have a place each, as their stores have."""
    return f"{data}.files.json"


class FileSum(BaseModel):
    """One file of the store."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str  # below the index's place
    bytes: int
    sha256: str


class IndexFiles(BaseModel):
    """All files of the store."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    files: tuple[FileSum, ...]


def write_sums(uri: str, data: str, storage: Storage) -> str:
    """Write the sums of the files below `data`; returns the SHA-256 of what was written."""
    files = tuple(FileSum(name=entry.key, bytes=entry.size, sha256=_sha256(uri, entry.key, storage)) for entry in _stored(storage, data))
    written = (IndexFiles(files=files).model_dump_json(indent=1) + "\n").encode()
    storage.put(sums_key(data), written)
    return hashlib.sha256(written).hexdigest()


def check_sums(uri: str, data: str, sums_sha256: str, storage: Storage, *, whole: bool = False) -> None:
    """Raise an `IntegrityError` unless the files below `data` are those that were written, every byte of them.

    In a bucket, objects that nobody wrote since their sums were made are not fetched again, unless the check is to be whole:
    the bucket dates each write itself. A folder's times prove nothing, so its files are read.
    """
    key = sums_key(data)
    blob = storage.get(key)
    if blob is None or hashlib.sha256(blob.data).hexdigest() != sums_sha256:
        raise damaged(uri, f"{key} is missing" if blob is None else f"{key} is not what was written")
    try:
        sums = {entry.name: entry for entry in IndexFiles.model_validate_json(blob.data).files}
    except ValidationError as error:
        raise damaged(uri, f"{key} cannot be read: {error.errors(include_url=False)[0]['msg']}") from None
    entries = {entry.key: entry for entry in _stored(storage, data)}
    for name in sorted(sums.keys() ^ entries.keys()):
        raise damaged(uri, f"{name} is missing" if name in sums else f"{name} was added")
    for name, entry in entries.items():
        if entry.size != sums[name].bytes:
            raise damaged(uri, f"{name} has {entry.size} bytes, not {sums[name].bytes}")
    for name in _to_read(uri, data, entries, storage, whole=whole):
        if _sha256(uri, name, storage) != sums[name].sha256:
            raise damaged(uri, f"{name} is not what was written")


def damaged(uri: str, problem: str) -> IntegrityError:
    """The error of an index whose bytes are not those that were written, with the mend."""
    return IntegrityError(
        f"{uri}: the index is damaged: {problem}. Remove it and run: touchstone index, which builds it again from its recipe"
    )


def _stored(storage: Storage, data: str) -> Iterator[Entry]:
    return storage.list(f"{data}/")


def _to_read(uri: str, data: str, entries: dict[str, Entry], storage: Storage, *, whole: bool) -> list[str]:
    if whole or not is_remote(uri):
        return sorted(entries)
    key = sums_key(data)
    written = next(entry.modified for entry in storage.list(key) if entry.key == key)
    return sorted(name for name, entry in entries.items() if entry.modified > written)


def _sha256(uri: str, name: str, storage: Storage) -> str:
    if not is_remote(uri):
        try:
            return sha256_file(Path(below(uri, name)))
        except OSError as error:
            raise StoreError(f"{below(uri, name)}: cannot be read: {error.strerror or error}.") from error
    if isinstance(storage, Streams):
        total = hashlib.sha256()
        for piece in storage.stream(name):
            total.update(piece)
        return total.hexdigest()
    blob = storage.get(name)
    return hashlib.sha256(blob.data).hexdigest() if blob else ""
