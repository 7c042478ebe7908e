"""LangChain's retrievers as searchers, and its document compressors as rerankers."""

from collections.abc import Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import ClassVar

from langchain_core.documents import BaseDocumentCompressor
from langchain_core.documents import Document as FoundDocument
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables.config import ensure_config

from serving.pipeline.errors import ConfigError
from serving.pipeline.index.base import Filter
from serving.pipeline.models.diagnose import diagnose
from serving.pipeline.models.langchain import PassThroughParams, constructed
from serving.pipeline.parts import Parts
from serving.pipeline.retrieve.locate import DocumentLocator
from serving.pipeline.retrieve.query_text import search_text
from serving.pipeline.types import Chunk, Hit, Query, SourceRank


class RetrieverSearcher:
    """Asks a LangChain retriever; what it finds is shown to those who may read the document in the index, and to nobody else.

    A Document becomes the slice of a document that it is: by `document_id`, `start` and `end` in its metadata, else by its
    text. Where its text is no slice of the document that its metadata names, it is a hit without a place there. One that
    belongs to no document of the index is refused unless `trusted` says that the retriever knows who may read it.
    """

    embeds: ClassVar[bool] = False  # asks no embedding model of ours
    version: ClassVar[str] = "1"
    wrapped: ClassVar[type[BaseRetriever]]

    class Params(PassThroughParams):
        """Handed to the retriever's class, but for what is named here."""

        trusted: bool = False  # True: what is in no document of the index is shown to the caller

    def __init__(self, params: Params, parts: Parts) -> None:
        self._retriever = constructed(self.wrapped, params.arguments, "searcher")
        self._trusted = params.trusted
        self._store = parts.store

    async def search(self, query: Query, k: int) -> list[Hit]:
        """The first k that the query may see, in the retriever's order; the score is 1/rank, as LangChain's Documents have none."""
        text = search_text(query)
        if not text:
            return []
        locator = DocumentLocator(self._store, Filter.of(query))
        chunks: dict[str, Chunk] = {}
        try:
            documents = await self._retriever.ainvoke(text)
        except Exception as error:
            raise diagnose(error, _path(self.wrapped)).error from error
        for document in documents:
            if not document.page_content.strip():
                continue
            located = await locator.locate(document)
            if not located.known and not self._trusted:
                raise ConfigError(self._refusal(document))
            if located.chunk is not None:
                chunks.setdefault(located.chunk.id, located.chunk)
            if len(chunks) == k:
                break
        return [
            Hit(chunk, 1 / rank, rank, MappingProxyType({"langchain": SourceRank(rank, 1 / rank)}))
            for rank, chunk in enumerate(list(chunks.values())[:k], start=1)
        ]

    def _refusal(self, document: FoundDocument) -> str:
        metadata = {key: document.metadata[key] for key in ("document_id", "id", "source") if key in document.metadata}
        return (
            f"The retriever {_path(self.wrapped)!r} found a Document that belongs to no document of the index (metadata {metadata}), so "
            "that nobody knows who may read it. Give it the document's id as document_id, or set retrieve.search.trusted: true."
        )


class CompressorReranker:
    """Lets a LangChain document compressor order and drop hits; one that rewrites their text is a `ConfigError`."""

    version: ClassVar[str] = "1"
    wrapped: ClassVar[type[BaseDocumentCompressor]]

    class Params(PassThroughParams):
        """Handed to the compressor's class as they are."""

    def __init__(self, params: Params, parts: Parts) -> None:
        self._compressor = constructed(self.wrapped, params.arguments, "reranker")

    async def rerank(self, query: Query, hits: Sequence[Hit], k: int) -> list[Hit]:
        """The first k in the compressor's order, with its `relevance_score` where that agrees with the order, else 1/rank."""
        question = search_text(query)
        if not hits or not question:
            return list(hits[:k])
        hits_by_id = {hit.chunk.id: hit for hit in hits}
        documents = [FoundDocument(page_content=hit.chunk.text, metadata=_metadata(hit), id=hit.chunk.id) for hit in hits]
        try:
            compressed = await self._compressor.acompress_documents(documents, question, callbacks=ensure_config()["callbacks"])
        except Exception as error:
            raise diagnose(error, _path(self.wrapped)).error from error
        documents_by_id = {
            str(document.metadata.get("chunk_id")): document for document in reversed(compressed)
        }  # of one that came twice, the first
        order = list(dict.fromkeys(str(document.metadata.get("chunk_id")) for document in compressed))
        for chunk_id in order:
            if chunk_id not in hits_by_id or documents_by_id[chunk_id].page_content != hits_by_id[chunk_id].chunk.text:
                raise ConfigError(self._refusal(chunk_id, known=chunk_id in hits_by_id))
        scores = _scores([documents_by_id[chunk_id] for chunk_id in order])
        return [replace(hits_by_id[chunk_id], score=score) for chunk_id, score in zip(order, scores, strict=True)][:k]

    def _refusal(self, chunk_id: str, *, known: bool) -> str:
        fault = f"rewrote the text of {chunk_id!r}" if known else "gave a Document that it was not given"
        return f"The reranker {_path(self.wrapped)!r} {fault}. A reranker orders and drops hits, and keeps their text and metadata."


def _metadata(hit: Hit) -> dict[str, object]:
    chunk = hit.chunk
    place = {"chunk_id": chunk.id, "document_id": chunk.document_id, "start": chunk.start, "end": chunk.end}
    return {**chunk.metadata, "title": chunk.title, "heading": chunk.heading, "source": chunk.source, "score": hit.score, **place}


def _scores(documents: Sequence[FoundDocument]) -> list[float]:
    values = [document.metadata.get("relevance_score") for document in documents]
    scores = [float(score) for score in values if isinstance(score, int | float)]
    usable = len(scores) == len(documents) and scores == sorted(scores, reverse=True)
    return scores if usable else [1 / rank for rank in range(1, len(documents) + 1)]


def _path(wrapped: type) -> str:
    return f"{wrapped.__module__}:{wrapped.__qualname__}"
