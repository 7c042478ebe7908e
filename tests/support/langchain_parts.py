"""LangChain classes that a configuration names by import path: small enough to see what an adapter makes of them."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import BaseDocumentCompressor
from langchain_core.documents import Document as FoundDocument
from langchain_core.retrievers import BaseRetriever

from serving.pipeline.types import Chunk

RETRIEVER = "tests.support.langchain_parts:WordRetriever"
COMPRESSOR = "tests.support.langchain_parts:ShortestFirst"
SPLITTER = "langchain_text_splitters:RecursiveCharacterTextSplitter"


class WordRetriever(BaseRetriever):
    """Finds the passages that share most words with the question; knows nothing of who asks."""

    passages: list[dict[str, Any]]

    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[FoundDocument]:
        asked = _words(query)
        found = [FoundDocument(**passage) for passage in self.passages]
        shared = {id(one): len(asked & _words(one.page_content)) for one in found}
        return sorted((one for one in found if shared[id(one)]), key=lambda one: -shared[id(one)])


class ShortestFirst(BaseDocumentCompressor):
    """Short passages first; says so in `relevance_score`, if it is asked to."""

    scored: bool = False
    api_key: str = ""

    def compress_documents(self, documents: Sequence[FoundDocument], query: str, callbacks: Any = None) -> list[FoundDocument]:
        """The documents by length."""
        best = sorted(documents, key=lambda one: len(one.page_content))
        if not self.scored:
            return best
        return [
            FoundDocument(page_content=one.page_content, metadata={**one.metadata, "relevance_score": 1 / len(one.page_content)})
            for one in best
        ]


class Extracting(BaseDocumentCompressor):
    """Keeps the first words of each passage: no reranker."""

    def compress_documents(self, documents: Sequence[FoundDocument], query: str, callbacks: Any = None) -> list[FoundDocument]:
        """Other texts."""
        return [FoundDocument(page_content=one.page_content[:5], metadata=one.metadata) for one in documents]


class Inventing(BaseDocumentCompressor):
    """Gives a passage that it was not given."""

    def compress_documents(self, documents: Sequence[FoundDocument], query: str, callbacks: Any = None) -> list[FoundDocument]:
        """One more."""
        return [*documents, FoundDocument(page_content="Nobody wrote this.")]


def passages_of(chunks: Iterable[Chunk], *, placed: bool = True) -> list[dict[str, Any]]:
    """Chunks as a retriever of another index has them, with or without their places."""
    return [
        {
            "page_content": chunk.text,
            "metadata": {"document_id": chunk.document_id, "start": chunk.start, "end": chunk.end} if placed else {},
        }
        for chunk in chunks
    ]


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.casefold()))
