"""An in-memory store, saved as two files: the reference implementation for the tests of the real store."""

import io
import json
import math
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import asdict
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from serving.pipeline.digest import digest_text
from serving.pipeline.errors import StoreError
from serving.pipeline.index.base import Filter, ScoredChunk, StoredRow, Vectors
from serving.pipeline.index.checked_vectors import checked_vectors
from serving.pipeline.index.manifest import index_storage
from serving.pipeline.index.rank import ranked
from serving.pipeline.registry import Params as PlugInParams
from serving.pipeline.settings import PipelineSettings
from serving.pipeline.text.stems import stemmed_words
from serving.pipeline.types import Chunk


class MemoryStore:
    """Compares every vector and scores every word; for tests and small corpora."""

    version: ClassVar[str] = "1"

    class Params(PlugInParams):
        """The two constants of BM25."""

        k1: float = Field(default=0.9, ge=0.0, le=10.0)  # how much a word's repetition counts
        b: float = Field(default=0.4, ge=0.0, le=1.0)  # how much long texts are penalised

    def __init__(self, params: Params, *, uri: str, dimensions: int, settings: PipelineSettings) -> None:
        self.params = params
        self._uri = uri
        self._settings = settings
        self._dimensions = dimensions
        self._chunks: list[Chunk] = []
        self._texts: list[str] = []
        self._rows: list[Vectors] = []
        self._ready = False

    async def add(self, chunks: Sequence[Chunk], texts: Sequence[str], vectors: Vectors) -> None:
        """Append a batch."""
        rows = checked_vectors(vectors, self._dimensions)
        if not len(chunks) == len(texts) == len(rows):
            raise StoreError(f"A batch needs one text and one vector for each chunk, not {len(chunks)}, {len(texts)} and {len(rows)}.")
        self._chunks += chunks
        self._texts += texts
        self._rows.append(rows)

    async def finish(self) -> str:
        """Keep the data and make it searchable; the version is a digest of the data."""
        if not self._chunks:
            raise StoreError(f"The index in {self._uri} could not be indexed: nothing was added.")
        data = self._lines()
        matrix = io.BytesIO()
        np.save(matrix, np.concatenate(self._rows), allow_pickle=False)
        storage = index_storage(self._uri, self._settings)
        storage.put("vectors.npy", matrix.getvalue())
        storage.put("chunks.jsonl", data.encode())
        self._index()
        return digest_text(data)

    async def search_vector(self, vector: Vectors, k: int, where: Filter) -> list[ScoredChunk]:
        """The k nearest by cosine similarity."""
        query = checked_vectors(np.asarray(vector).reshape(1, -1), self._dimensions)[0]
        self._load()
        scores = self._units @ (query / np.linalg.norm(query))
        return self._top({place: float(score) for place, score in enumerate(scores)}, k, where)

    async def search_text(self, text: str, k: int, where: Filter) -> list[ScoredChunk]:
        """The k best by BM25."""
        self._load()
        k1, b = self.params.k1, self.params.b
        scores: dict[int, float] = {}
        for word, query_count in sorted(Counter(stemmed_words(text)).items()):
            postings = self._postings.get(word, {})
            weight = query_count * math.log(1 + (len(self._chunks) - len(postings) + 0.5) / (len(postings) + 0.5))
            for place, count in postings.items():
                length_penalty = k1 * (1 - b + b * self._lengths[place] / self._mean_length)
                scores[place] = scores.get(place, 0.0) + weight * count / (count + length_penalty)
        return self._top(scores, k, where)

    async def slice(self, document_id: str, first: int, last: int, where: Filter) -> list[Chunk]:
        """A document's chunks with ordinals first..last, in order."""
        self._load()
        chunks = [chunk for chunk in self._chunks if chunk.document_id == document_id and first <= chunk.ordinal <= last]
        return sorted(filter(where.admits, chunks), key=lambda chunk: chunk.ordinal)

    async def vectors(self, ids: Iterable[str]) -> dict[str, Vectors]:
        """The stored vectors of chunks; an unknown id has none."""
        self._load()
        return {name: self._matrix[self._places[name]] for name in sorted(set(ids)) if name in self._places}

    async def count(self) -> int:
        """How many chunks there are."""
        self._load()
        return len(self._chunks)

    async def rows(self, limit: int | None = None) -> AsyncIterator[Sequence[StoredRow]]:
        """Every row, or the first few."""
        self._load()
        yield [StoredRow.of(*row) for row in zip(self._chunks[:limit], self._texts[:limit], self._matrix[:limit], strict=True)]

    async def data_version(self) -> str:
        """The digest of the data."""
        self._load()
        return digest_text(self._lines())

    def _lines(self) -> str:
        return "\n".join(json.dumps({"chunk": _plain(chunk), "text": text}) for chunk, text in zip(self._chunks, self._texts, strict=True))

    def _top(self, scores: dict[int, float], k: int, where: Filter) -> list[ScoredChunk]:
        scored = (ScoredChunk(self._chunks[place], score) for place, score in scores.items() if where.admits(self._chunks[place]))
        return ranked(scored)[: max(k, 0)]

    def _load(self) -> None:
        if self._ready:
            return
        if not self._chunks:
            storage = index_storage(self._uri, self._settings)
            lines, matrix = storage.get("chunks.jsonl"), storage.get("vectors.npy")
            if lines is None or matrix is None:
                raise StoreError(f"The index in {self._uri} could not be opened: there is none.")
            rows = [json.loads(line) for line in lines.data.decode().split("\n")]
            self._chunks = [_chunk(row["chunk"]) for row in rows]
            self._texts = [row["text"] for row in rows]
            self._rows = [np.load(io.BytesIO(matrix.data), allow_pickle=False)]
        self._index()

    def _index(self) -> None:
        self._matrix: Vectors = np.concatenate(self._rows)
        self._units = self._matrix / np.linalg.norm(self._matrix, axis=1, keepdims=True)
        self._places = {chunk.id: place for place, chunk in enumerate(self._chunks)}
        self._postings: dict[str, dict[int, int]] = {}
        self._lengths: list[int] = []
        for place, text in enumerate(self._texts):
            counts = Counter(stemmed_words(text))
            self._lengths.append(counts.total())
            for word, count in counts.items():
                self._postings.setdefault(word, {})[place] = count
        self._mean_length = max(sum(self._lengths) / len(self._lengths), 1.0)
        self._ready = True


def _plain(chunk: Chunk) -> dict[str, Any]:
    return asdict(Chunk(**{**_fields(chunk), "metadata": {}})) | {"metadata": dict(chunk.metadata)}


def _fields(chunk: Chunk) -> dict[str, Any]:
    return {name: getattr(chunk, name) for name in chunk.__slots__}


def _chunk(row: dict[str, Any]) -> Chunk:
    return Chunk(**{**row, "groups": tuple(row["groups"]), "metadata": MappingProxyType(row["metadata"])})
