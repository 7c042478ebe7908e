"""Rows that are searched by comparing every vector."""

import numpy as np
from numpy.typing import NDArray

from serving.pipeline.index.base import ScoredChunk, Vectors
from serving.pipeline.index.rank import best_places
from serving.pipeline.index.resident.chunks import ChunkTable
from serving.pipeline.index.resident.mapped import MappedArrays
from serving.pipeline.index.resident.packed import Rows
from serving.pipeline.index.shingles import Shingles


class SearchedRows:
    """The chunks, vectors and shingles of an array file."""

    def __init__(self, arrays: MappedArrays) -> None:
        self.chunks = ChunkTable(arrays)
        self.vectors: Vectors = arrays["vectors"]
        self._lengths: Vectors = arrays["lengths"]
        self._shingles, self._shingle_ends = arrays["shingles"], arrays["shingles.ends"]

    def cosines(self, query: Vectors, rows: Rows | None) -> Vectors:
        """The cosine of each of these rows; a row's number is the same to the last bit whichever others are compared."""
        if rows is not None and 2 * len(rows) < len(self.vectors):
            return np.asarray(np.vecdot(self.vectors[rows], query) / self._lengths[rows], np.float32)
        cosines = np.vecdot(self.vectors, query) / self._lengths  # reading all in order costs less than gathering most
        return np.asarray(cosines if rows is None else cosines[rows], np.float32)

    def best(self, scores: NDArray[np.float32], rows: NDArray[np.integer] | None, k: int) -> list[ScoredChunk]:
        """The chunks of the k best scores; ties in the order of rows, which is that of ids."""
        best = best_places(scores, k)
        found = best.places if rows is None else rows[best.places]
        return [ScoredChunk(self.chunks.chunk(row), score) for row, score in zip(found.tolist(), best.scores.tolist(), strict=True)]

    def matching(self, scores: NDArray[np.float32] | None, rows: Rows | None, k: int) -> list[ScoredChunk]:
        """The chunks of the k best scores above 0, of these rows."""
        if scores is None:
            return []
        found = np.flatnonzero(scores if rows is None else scores[rows])
        matching = found if rows is None else rows[found]
        return self.best(scores[matching], matching, k)

    def shingles(self, row: int) -> Shingles:
        """The shingles of a row."""
        shingles: Shingles = self._shingles[self._shingle_ends[row - 1] if row else 0 : self._shingle_ends[row]]
        return shingles
