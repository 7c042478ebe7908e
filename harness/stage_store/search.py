"""A store with stored searches: each is made once, for more hits than asked, and cut to length."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.stage_store.base import StageStore, key_of, pack, unpack
from harness.stage_store.chunks import CachedChunks
from harness.stage_store.reuse import note_reuse
from serving.pipeline.index.base import Filter, ScoredChunk, Store, StoredRow, Vectors
from serving.pipeline.types import Chunk

STAGE = "search"
LENGTHS = (50, 100, 200, 500, 1000)  # a search asks for the first of these that is long enough


@dataclass(frozen=True, slots=True)
class CachedSearches:
    """A vector store whose searches go through the stage store."""

    inner: Store
    stage_store: StageStore
    chunks: CachedChunks
    index_digest: str
    exact: bool  # a longer list begins with the shorter one; approximate searches do not promise it

    async def search_vector(self, vector: Vectors, k: int, where: Filter) -> list[ScoredChunk]:
        """The k nearest by cosine similarity."""
        search_key = ["vector", np.asarray(vector, dtype="<f4").tobytes().hex()]
        return await self._cached(
            search_key, k if not self.exact else _length(k), k, where, lambda n: self.inner.search_vector(vector, n, where)
        )

    async def search_text(self, text: str, k: int, where: Filter) -> list[ScoredChunk]:
        """The k best by BM25."""
        return await self._cached(["text", text], _length(k), k, where, lambda n: self.inner.search_text(text, n, where))

    async def _cached(
        self, search_key: list[Any], length: int, k: int, where: Filter, search: Callable[[int], Awaitable[list[ScoredChunk]]]
    ) -> list[ScoredChunk]:
        if k <= 0:
            return []
        if where.everything:  # an inspection without access control, which is not stored
            return await search(k)
        domains = None if where.domains is None else sorted(where.domains)
        key = key_of(self.index_digest, search_key, length, where.tenant, where.groups_in_full, domains, dict(where.metadata))
        stored = self.stage_store.get(STAGE, key)
        if stored is not None:
            stored_hits = unpack(stored)[:k]
            if (chunks := self.chunks.find([name for name, _ in stored_hits])) is not None:
                note_reuse(STAGE)
                return [ScoredChunk(chunk, score) for chunk, (_, score) in zip(chunks, stored_hits, strict=True)]
        hits = await search(length)
        names = self.chunks.store_all([hit.chunk for hit in hits])
        self.stage_store.put(STAGE, key, pack([[name, hit.score] for name, hit in zip(names, hits, strict=True)]))
        return hits[:k]

    async def add(self, chunks: Sequence[Chunk], texts: Sequence[str], vectors: Vectors) -> None:
        """Append a batch."""
        await self.inner.add(chunks, texts, vectors)

    async def finish(self) -> str:
        """Build the indexes."""
        return await self.inner.finish()

    async def slice(self, document_id: str, first: int, last: int, where: Filter) -> list[Chunk]:
        """A document's chunks with ordinals first..last, in order."""
        return await self.inner.slice(document_id, first, last, where)

    async def vectors(self, ids: Iterable[str]) -> dict[str, Vectors]:
        """The stored vectors of chunks."""
        return await self.inner.vectors(ids)

    async def count(self) -> int:
        """How many chunks there are."""
        return await self.inner.count()

    def rows(self, limit: int | None = None) -> AsyncIterator[Sequence[StoredRow]]:
        """Every row as it is stored, or the first few."""
        return self.inner.rows(limit)

    async def data_version(self) -> str:
        """The store's own version of the data."""
        return await self.inner.data_version()


def _length(k: int) -> int:
    return next((length for length in LENGTHS if length >= k), k)
