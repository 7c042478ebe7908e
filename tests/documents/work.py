"""What is done on a store of documents by a process that is killed."""

import asyncio
import os
import signal
from pathlib import Path

from serving.documents.indexing import IndexedDocuments
from serving.documents.open import open_documents
from serving.documents.order import IndexingLimits
from serving.documents.store import DocumentStore
from serving.pipeline.index.layered.unused import retire_unused
from serving.pipeline.index.parse import Parser
from tests.documents.making import proven_index, put, settings_at, small_config
from tests.support.killing import DeadlyStorage

NAMES = [f"{number}.md" for number in range(3)]


class DeadlyDocuments(DeadlyStorage):
    """Files and segments are written under names of their own: nothing of another's is replaced."""

    def put(self, key: str, data: bytes) -> None:
        """As the storage it stands for."""
        self._storage.put(key, data)


def add_and_index(place: str, write: int) -> None:
    """Add documents, replace one, delete one, and index: killed before the n-th conditional write."""
    asyncio.run(_add_and_index(Path(place), write))


async def _add_and_index(home: Path, write: int) -> None:
    settings = settings_at(home)
    store = DocumentStore(DeadlyDocuments(open_documents(settings).storage, write))
    indexed = IndexedDocuments(store, small_config(), await proven_index(settings))
    parser = Parser()
    for name in NAMES:
        put(store, name, f"lunar tax of {name}", id=f"wiki/{name}", collection="wiki")
    await indexed.step(parser)
    put(store, NAMES[0], "lunar gate of another version", id=f"wiki/{NAMES[0]}", collection="wiki")
    store.delete([f"wiki/{NAMES[1]}", "leave.md"])
    await indexed.catch_up(parser)
    await indexed.step(parser)


class DeadlyAfterSlices(DeadlyDocuments):
    """Kills its own process after it has kept so many slices."""

    def put_if(self, key: str, data: bytes, *, expected: str | None) -> str | None:
        """As the storage it stands for."""
        return self._storage.put_if(key, data, expected=expected)

    def put(self, key: str, data: bytes) -> None:
        """Write, and die after the last one."""
        self._storage.put(key, data)
        if "/begun/" in key:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)


def index_large(place: str, slices: int) -> None:
    """Add a large document and index it: killed after so many slices."""
    asyncio.run(_index_large(Path(place), slices))


async def _index_large(home: Path, slices: int) -> None:
    settings = settings_at(home)
    store = DocumentStore(DeadlyAfterSlices(open_documents(settings).storage, slices))
    limits = IndexingLimits(small_bytes=400, slice_chunks=4, saved_chunks=4)
    config = small_config(chunker={"name": "recursive", "size": 100, "overlap": 0})
    indexed = IndexedDocuments(store, config, await proven_index(settings, config), limits=limits)
    text = "\n\n".join(
        f"Paragraph {number} says that lunar desk {number} opens at the gate number {number} in the morning." for number in range(40)
    )
    put(store, "large.md", text, id="wiki/large.md", collection="wiki")
    await indexed.catch_up(Parser())


class DeadlyRemoval(DeadlyDocuments):
    """Whatever is written or removed counts."""

    def put(self, key: str, data: bytes) -> None:
        """Die, or write."""
        self._count()
        self._storage.put(key, data)

    def put_if(self, key: str, data: bytes, *, expected: str | None) -> str | None:
        """Die, or write."""
        self._count()
        return self._storage.put_if(key, data, expected=expected)

    def delete(self, key: str) -> None:
        """Die, or remove."""
        self._count()
        self._storage.delete(key)

    def _count(self) -> None:
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def retire(place: str, write: int) -> None:
    """Take the rows of unused index configurations away: killed before the n-th write or removal."""
    retire_unused(DeadlyRemoval(open_documents(settings_at(Path(place))).storage, write), ())
