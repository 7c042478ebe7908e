"""Opens the resident searcher of a store of record, and makes its file where none is whole and current."""

import asyncio
import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from serving.pipeline.errors import StoreError
from serving.pipeline.index.base import Releasable, Store, StoredRow
from serving.pipeline.index.content import ContentDigest
from serving.pipeline.index.resident.access import packed_access
from serving.pipeline.index.resident.chunks import packed_chunks
from serving.pipeline.index.resident.keywords import packed_keywords
from serving.pipeline.index.resident.mapped import MappedArrays, map_arrays, write_arrays
from serving.pipeline.index.resident.store import ResidentStore
from serving.pipeline.index.resident.words import StopWords
from serving.pipeline.index.shingles import new_shingles
from serving.pipeline.index.sums import damaged
from serving.storage.lock import file_lock

FORMAT = 3  # raise it when a file of the same index would hold something else
FILE = "resident.bin"


@runtime_checkable
class StoreOfRecord(Store, Protocol):
    """A store whose rows may be searched elsewhere."""

    @property
    def resident_up_to(self) -> int:
        """Chunks up to which every one is compared, and so a resident searcher finds the same."""
        ...

    @property
    def counted_stop_words(self) -> StopWords:
        """Whether its full-text search counts stop words."""
        ...


async def searchable(store: Store, *, folders: Sequence[Path], index: str, data_version: str, chunks: int, content: str = "") -> Store:
    """The resident searcher of a store that is small enough to have one, else the store itself.

    Its file is looked for in all folders, and made in the first that can be written: an index may lie where nothing can. A
    file of another index, or of another version of its data, is made again. `content`, where it is known, is the digest of the
    rows that it must be made of.
    """
    if not isinstance(store, StoreOfRecord) or chunks > store.resident_up_to:
        return store
    made_of = {"format": FORMAT, "index": index, "data_version": data_version}
    made_of |= {"stop_words": store.counted_stop_words, "stemmer": installed("snowballstemmer")}
    for folder in folders:
        arrays = await asyncio.to_thread(_current, folder / FILE, made_of, content)
        if arrays is not None:
            return ResidentStore(folder / FILE, arrays, store)
    path = await asyncio.to_thread(_first_writable, folders) / FILE
    return ResidentStore(path, await _made(store, path, made_of, content), store)


def _first_writable(folders: Sequence[Path]) -> Path:
    """The first folder that can be written, made if it is not there; the last one, if none can: writing says why."""
    for folder in folders[:-1]:
        with suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            if os.access(folder, os.W_OK):
                return folder
    return folders[-1]


async def _made(store: StoreOfRecord, path: Path, made_of: Mapping[str, Any], content: str) -> MappedArrays:
    """The file of a store, made by this process or by the one that was first."""
    with ExitStack() as stack:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = path.with_name(f".{path.name}.lock")
            await asyncio.to_thread(stack.enter_context, file_lock(lock))
            stack.callback(lock.unlink, missing_ok=True)
            for draft in path.parent.glob(f".{path.name}.*"):  # of a writer that was killed: who writes holds the lock
                if draft != lock:
                    draft.unlink()
        except OSError as error:
            raise StoreError(f"{path.parent}: cannot be written: {error.strerror or error}.") from error
        arrays = await asyncio.to_thread(_current, path, made_of, content)
        if arrays is None:
            rows, digest = await _read(store)
            if content and digest != content:
                raise damaged(str(path.parent), "its rows or vectors are not those that were built")
            header = {**made_of, "data_version": await store.data_version(), "content": digest}
            await asyncio.to_thread(_write, path, header, rows)
            arrays = map_arrays(path)
        if arrays is None:
            raise StoreError(f"{path} could not be read after it was written. Is the disk sound?")
        if isinstance(store, Releasable):  # what its library holds in memory is not needed any more
            store.close()
        return arrays


def _current(path: Path, made_of: Mapping[str, Any], content: str) -> MappedArrays | None:
    """The file's arrays, where it is whole and made of this data."""
    arrays = map_arrays(path)
    if arrays is None or {name: arrays.header.get(name) for name in made_of} != made_of:
        return None
    return arrays if not content or arrays.header["content"] == content else None


async def _read(store: StoreOfRecord) -> tuple[list[StoredRow], str]:
    """All rows in the order of their ids, and their digest."""
    rows: list[StoredRow] = []
    digest = ContentDigest()
    async for batch in store.rows():
        for row in batch:
            derived = StoredRow.of(row.chunk, row.text, row.vector)
            if (row.open, row.facts) != (derived.open, derived.facts):
                raise damaged(row.chunk.id, "the chunk's columns do not agree on who may read it")
        digest.add(batch)
        rows += batch
    return sorted(rows, key=lambda row: row.chunk.id), digest.hexdigest()


def _write(path: Path, header: Mapping[str, Any], rows: list[StoredRow]) -> None:
    chunks = [row.chunk for row in rows]
    vectors = np.stack([np.asarray(row.vector, np.float32) for row in rows])
    shingles = [new_shingles(chunk.text) for chunk in chunks]
    arrays = {
        "vectors": vectors,
        "lengths": np.linalg.norm(vectors.astype(np.float64), axis=1).astype(np.float32),
        **packed_keywords([row.text for row in rows], header["stop_words"]),
        **packed_access(chunks),
        **packed_chunks(chunks),
        "shingles": np.concatenate(shingles),
        "shingles.ends": np.cumsum([len(one) for one in shingles], dtype=np.uint64),
    }
    write_arrays(path, header, arrays)
