"""What is done on a store of documents by a process that is killed."""

import asyncio
from pathlib import Path

from serving.documents.indexing import IndexedDocuments
from serving.documents.open import open_documents
from serving.documents.store import DocumentStore
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
