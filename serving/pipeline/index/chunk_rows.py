"""The steps from documents to rows of an index: chunked, embedded, scored; for a proven index and for what is added to it."""

from collections.abc import AsyncIterator, Iterable, Iterator
from itertools import islice

from langchain_core.embeddings import Embeddings

from serving.pipeline.checks.grounding.embedder import NamedEmbeddings
from serving.pipeline.config import IndexConfig
from serving.pipeline.index import CHUNKERS
from serving.pipeline.index.base import StoredRow
from serving.pipeline.index.context import indexed_text
from serving.pipeline.index.embed import embed
from serving.pipeline.index.instructions import InstructionScores
from serving.pipeline.types import Chunk, Document

BATCH = 256  # chunks embedded at a time


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

    async def batches(self, chunks: Iterable[Chunk], size: int = BATCH) -> AsyncIterator[list[StoredRow]]:
        """The rows of chunks; at no time are more than a batch's vectors in memory."""
        stream = iter(chunks)
        while batch := list(islice(stream, size)):
            texts = [indexed_text(chunk, self._index.context) for chunk in batch]
            vectors = await embed(self._embeddings, texts)
            scored = await self._scores.of(batch, vectors)
            yield list(map(StoredRow.of, scored, texts, vectors))
