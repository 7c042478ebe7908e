"""The steps from documents to rows of an index: chunked, embedded, scored; for a proven index and for what is added to it."""

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from itertools import islice
from types import MappingProxyType

from langchain_core.embeddings import Embeddings

from serving.pipeline.checks.grounding.embedder import NamedEmbeddings
from serving.pipeline.config import IndexConfig
from serving.pipeline.index import CHUNKERS
from serving.pipeline.index.base import StoredRow, Vectors
from serving.pipeline.index.context import indexed_text
from serving.pipeline.index.embed import embed
from serving.pipeline.index.instructions import InstructionScores
from serving.pipeline.types import Chunk, Document

BATCH = 256  # chunks embedded at a time

ChunkKey = bytes  # a digest of all that is computed of


@dataclass(frozen=True, slots=True, eq=False)
class ComputedChunk:
    """What a model and the detector make of a chunk's texts, wherever the chunk stands."""

    vector: Vectors
    instruction_score: float


NOTHING: Mapping[ChunkKey, ComputedChunk] = MappingProxyType({})


def chunk_key(chunk: Chunk, text: str) -> ChunkKey:
    """Under what the vector of a text and the score of its chunk are known."""
    digest = blake2b(digest_size=16)
    for part in (text, chunk.text):
        data = part.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.digest()


class ChunkRows:
    """The rows of documents under one index configuration."""

    def __init__(self, index: IndexConfig, embeddings: Embeddings) -> None:
        self._index = index
        self._embeddings = embeddings
        self._scores = InstructionScores(NamedEmbeddings(index.embedder.name, embeddings))

    def chunks(self, documents: Iterable[Document]) -> Iterator[Chunk]:
        """The chunks of documents, in order."""
        chunker = CHUNKERS.build(self._index.chunker)
        for document in documents:
            yield from chunker.split(document)

    def key(self, chunk: Chunk) -> ChunkKey:
        """Under what the values of a chunk are known."""
        return chunk_key(chunk, indexed_text(chunk, self._index.context))

    async def batches(
        self, chunks: Iterable[Chunk], size: int = BATCH, known: Mapping[ChunkKey, ComputedChunk] = NOTHING
    ) -> AsyncIterator[list[StoredRow]]:
        """The rows of chunks; at no time are more than a batch's vectors in memory."""
        stream = iter(chunks)
        while batch := list(islice(stream, size)):
            yield await self.rows(batch, known)

    async def rows(self, batch: Sequence[Chunk], known: Mapping[ChunkKey, ComputedChunk] = NOTHING) -> list[StoredRow]:
        """The rows of some chunks; what is known is not computed again."""
        texts = [indexed_text(chunk, self._index.context) for chunk in batch]
        found = [known.get(chunk_key(chunk, text)) for chunk, text in zip(batch, texts, strict=True)] if known else [None] * len(batch)
        new = [place for place, one in enumerate(found) if one is None]
        vectors = await embed(self._embeddings, [texts[place] for place in new])
        scored = iter(zip(await self._scores.of([batch[place] for place in new], vectors), vectors, strict=True))
        rows = []
        for chunk, text, one in zip(batch, texts, found, strict=True):
            own, vector = next(scored) if one is None else (replace(chunk, instruction_score=one.instruction_score), one.vector)
            rows.append(StoredRow.of(own, text, vector))
        return rows
