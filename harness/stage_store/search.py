"""An index that remembers its searches: each is made once, at a generous length, and cut to what is asked."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.stage_store.base import StageStore, key_of, packed, unpacked
from harness.stage_store.chunks import CachedChunks
from serving.pipeline.index.base import Filter, ScoredChunk, Store, Vectors
from serving.pipeline.types import Chunk

STAGE = "search"
LENGTHS = (50, 100, 200, 500, 1000)  # a list is fetched at the first of these that is long enough


@dataclass(frozen=True, slots=True)
class CachedSearches:
    """A store whose searches are kept; all else it does itself."""

    inner: Store
    stages: StageStore
    chunks: CachedChunks
    index_digest: str
    exact: bool  # a longer list begins with the shorter one; approximate searches do not promise it

    async def search_vector(self, vector: Vectors, k: int, where: Filter) -> list[ScoredChunk]:
        """The k nearest by cosine similarity."""
        asked = ["vector", np.asarray(vector, dtype="<f4").tobytes().hex()]
        return await self._kept(asked, k if not self.exact else _length(k), k, where, lambda n: self.inner.search_vector(vector, n, where))

    async def search_text(self, text: str, k: int, where: Filter) -> list[ScoredChunk]:
        """The k best by BM25."""
        return await self._kept(["text", text], _length(k), k, where, lambda n: self.inner.search_text(text, n, where))

    async def _kept(
        self, asked: list[Any], length: int, k: int, where: Filter, search: Callable[[int], Awaitable[list[ScoredChunk]]]
    ) -> list[ScoredChunk]:
        if k <= 0:
            return []
        if where.everything:  # only to learn what is there; what is kept is what somebody may see
            return await search(k)
        domains = None if where.domains is None else sorted(where.domains)
        key = key_of(self.index_digest, asked, length, where.tenant, sorted(where.groups), domains, dict(where.metadata))
        known = self.stages.get(STAGE, key)
        if known is not None:
            listed = unpacked(known)[:k]
            if (there := self.chunks.find([name for name, _ in listed])) is not None:
                return [ScoredChunk(chunk, score) for chunk, (_, score) in zip(there, listed, strict=True)]
        found = await search(length)
        names = self.chunks.keep([one.chunk for one in found])
        self.stages.put(STAGE, key, packed([[name, one.score] for name, one in zip(names, found, strict=True)]))
        return found[:k]

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


def _length(k: int) -> int:
    return next((length for length in LENGTHS if length >= k), k)
