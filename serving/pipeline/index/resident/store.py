"""Searches an index that is one mapped file."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from serving.pipeline.errors import StoreError
from serving.pipeline.index.base import Filter, Releasable, ScoredChunk, Store, StoredRow, Vectors
from serving.pipeline.index.checked_vectors import checked_vectors
from serving.pipeline.index.resident.access import AdmittedRows
from serving.pipeline.index.resident.keywords import KeywordScores, WordCounts
from serving.pipeline.index.resident.mapped import MappedArrays, map_arrays
from serving.pipeline.index.resident.rows import SearchedRows
from serving.pipeline.index.shingles import Shingles, shingles_of
from serving.pipeline.types import Chunk

AT_ONCE = 20_000  # vectors compared in less time than a hop to another thread and back is worth


class ResidentStore:
    """Finds what the store of record finds when it compares every chunk, without asking it.

    Compares every vector: a search in 100,000 chunks of 384 numbers takes about as long as embedding the question.
    """

    def __init__(self, path: Path, arrays: MappedArrays, record: Store) -> None:
        self.record = record
        self._path = path
        self._content = arrays.header["content"]
        self._opened: _Parts | None = _Parts(arrays)

    async def add(self, chunks: Sequence[Chunk], texts: Sequence[str], vectors: Vectors) -> None:
        """Refused: an index that is searched is complete."""
        raise StoreError(f"{self._path}: an index that is open to be searched takes no further chunks.")

    async def finish(self) -> str:
        """Refused, likewise."""
        raise StoreError(f"{self._path}: an index that is open to be searched is finished.")

    async def search_vector(self, vector: Vectors, k: int, where: Filter) -> list[ScoredChunk]:
        """The k nearest by cosine similarity."""
        parts = self._parts()
        query = checked_vectors(np.asarray(vector).reshape(1, -1), parts.vectors.shape[1])[0]
        rows, unit = parts.access.rows(where), query / np.linalg.norm(query)
        if len(parts.vectors) > AT_ONCE:
            return parts.best(await asyncio.to_thread(parts.cosines, unit, rows), rows, k)
        return parts.best(parts.cosines(unit, rows), rows, k)

    async def search_text(self, text: str, k: int, where: Filter) -> list[ScoredChunk]:
        """The k best by BM25."""
        parts = self._parts()
        return parts.matching(parts.keywords.of(text), parts.access.rows(where), k)

    def counted_words(self, text: str) -> Mapping[str, int]:
        """The words of a text as its search counts them, and how often each stands in it."""
        return self._parts().keywords.counted(text)

    def word_counts(self, words: Iterable[str], without: frozenset[str]) -> WordCounts:
        """How many rows there are and have each word, but for those of some documents."""
        parts = self._parts()
        rows = parts.access.rows(Filter(everything=True, without=without))
        return parts.keywords.counts(words, rows)

    async def search_text_by(self, text: str, k: int, where: Filter, rarity: Mapping[str, float]) -> list[ScoredChunk]:
        """The k best by BM25, each word as rare as is said."""
        parts = self._parts()
        return parts.matching(parts.keywords.of(text, rarity), parts.access.rows(where), k)

    async def slice(self, document_id: str, first: int, last: int, where: Filter) -> list[Chunk]:
        """A document's chunks with ordinals first..last, in order."""
        parts = self._parts()
        chunks = (parts.chunks.chunk(row) for row in parts.chunks.rows_of(document_id, first, last))
        return [chunk for chunk in chunks if where.admits(chunk)]

    async def vectors(self, ids: Iterable[str]) -> dict[str, Vectors]:
        """The stored vectors of chunks; an unknown id has none."""
        parts = self._parts()
        rows = {chunk_id: parts.chunks.row(chunk_id) for chunk_id in sorted(set(ids))}
        return {chunk_id: np.array(parts.vectors[row]) for chunk_id, row in rows.items() if row is not None}

    async def count(self) -> int:
        """How many chunks there are."""
        return len(self._parts().chunks)

    def rows(self, limit: int | None = None) -> AsyncIterator[Sequence[StoredRow]]:
        """Every row as the store of record has it, or the first few."""
        return self.record.rows(limit)

    async def data_version(self) -> str:
        """The version of the data that the file was made of."""
        return self._parts().data_version

    async def probe(self) -> None:
        """Raise when the file is gone: the index was moved or removed."""
        if not await asyncio.to_thread(self._path.is_file):
            raise StoreError(f"{self._path} is gone. Is the place of the index still there?")

    def shingles(self, chunk: Chunk) -> Shingles:
        """The shingles of a chunk's text, worked out when the index was built."""
        parts = self._parts()
        row = parts.chunks.row(chunk.id)
        known = row is not None and parts.chunks.chunk(row).text == chunk.text  # widened hits may have another text
        return parts.shingles(row) if row is not None and known else shingles_of(chunk.text)

    def close(self) -> None:
        """Let go of the file and of all that was read from it; the next search opens it again."""
        self._opened = None
        if isinstance(self.record, Releasable):
            self.record.close()

    def _parts(self) -> "_Parts":
        parts = self._opened
        if parts is None:
            arrays = map_arrays(self._path)
            if arrays is None or arrays.header["content"] != self._content:
                raise StoreError(f"{self._path} is gone, damaged or of other data. It is made anew when the index is opened again.")
            parts = self._opened = _Parts(arrays)
        return parts


class _Parts(SearchedRows):
    """What an open file holds."""

    def __init__(self, arrays: MappedArrays) -> None:
        super().__init__(arrays)
        self.access = AdmittedRows(arrays, len(self.chunks))
        self.keywords = KeywordScores(arrays, len(self.chunks), arrays.header["stop_words"])
        self.data_version: str = arrays.header["data_version"]
