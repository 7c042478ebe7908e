"""Locates a text from another retriever in the documents of the index, under their access rules."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from langchain_core.documents import Document as FoundDocument

from serving.pipeline.digest import digest_text
from serving.pipeline.index.base import LAST_ORDINAL, Filter, Store
from serving.pipeline.types import Chunk

EVERYTHING = Filter(everything=True)
SEARCHED_WORDS = 60  # words of a text that are looked up, where its metadata names no document
CANDIDATES = 20  # chunks that share them
NAME_KEYS = ("document_id", "id", "source")  # under which metadata may name the document
SPACE = re.compile(r"\s")


@dataclass(frozen=True, slots=True)
class LocatedText:
    """A located text: `chunk` may be shown, if it is there; `known` says whether the text belongs to a document of the index."""

    chunk: Chunk | None
    known: bool


@dataclass(frozen=True, slots=True)
class DocumentLocator:
    """Locates the texts of one search for a caller who may see what the filter admits."""

    store: Store
    where: Filter
    _chunks_by_document: dict[str, list[Chunk]] = field(default_factory=dict)  # documents looked up: the chunks that may be shown

    async def locate(self, document: FoundDocument) -> LocatedText:
        """The chunk of a text: a slice of a document, or one without a span where the text only names a document."""
        readable: Chunk | None = None
        for document_id in _document_names(document):
            if chunks := await self._chunks(document_id):
                if (chunk := _slice(chunks, document)) is not None:
                    return LocatedText(chunk, known=True)
                readable = readable or chunks[0]
            elif await self.store.slice(document_id, 0, LAST_ORDINAL, EVERYTHING):
                return LocatedText(None, known=True)
        if (chunk := await self._by_text(document, self.where)) is not None:
            return LocatedText(chunk, known=True)
        if await self._by_text(document, EVERYTHING) is not None:
            return LocatedText(None, known=True)
        if readable is not None:
            return LocatedText(_chunk_without_span(readable, document.page_content), known=True)
        return LocatedText(_chunk_of_unknown(document), known=False)

    async def _chunks(self, document_id: str) -> list[Chunk]:
        if document_id not in self._chunks_by_document:
            self._chunks_by_document[document_id] = await self.store.slice(document_id, 0, LAST_ORDINAL, self.where)
        return self._chunks_by_document[document_id]

    async def _by_text(self, document: FoundDocument, where: Filter) -> Chunk | None:
        """The slice that a text is, in one of the documents that share its first words."""
        words = " ".join(document.page_content.split()[:SEARCHED_WORDS])
        similar = await self.store.search_text(words, CANDIDATES, where)
        for document_id in dict.fromkeys(scored.chunk.document_id for scored in similar):
            chunk = _slice(await self.store.slice(document_id, 0, LAST_ORDINAL, where), document)
            if chunk is not None:
                return chunk
        return None


def _document_names(document: FoundDocument) -> list[str]:
    """The document names in the metadata, each once."""
    names = [*(document.metadata.get(name) for name in NAME_KEYS), document.id]
    return list(dict.fromkeys(name for name in names if isinstance(name, str) and name))


def _slice(chunks: Sequence[Chunk], document: FoundDocument) -> Chunk | None:
    """The slice of a document that equals the text, or None."""
    content = document.page_content.strip()
    text, start = _text(chunks), document.metadata.get("start")
    if isinstance(start, int):
        start += document.page_content.index(content)
        if _matches_at(text, content, start):
            return _chunk_at(chunks, content, start)
    searchable, needle = _one_kind_of_space(text), _one_kind_of_space(content)
    position = searchable.find(needle)
    while position >= 0:
        if _matches_at(text, content, position):
            return _chunk_at(chunks, content, position)
        position = searchable.find(needle, position + 1)
    return None


def _text(chunks: Sequence[Chunk]) -> str:
    """A document's text rebuilt from its chunks; the white space between them becomes NUL."""
    text = ""
    for chunk in chunks:
        text = text.ljust(chunk.start, "\0")
        text += chunk.text[max(len(text) - chunk.start, 0) :]
    return text


def _one_kind_of_space(text: str) -> str:
    """The text with every white space as one space, so that offsets stay the same."""
    return SPACE.sub(" ", text.replace("\0", " "))


def _matches_at(text: str, content: str, start: int) -> bool:
    """Whether the content matches at an offset; unknown characters match white space."""
    window = text[start : start + len(content)] if start >= 0 else ""
    if not content or len(window) != len(content):
        return False
    return all(actual.isspace() if expected == "\0" else expected == actual for expected, actual in zip(window, content, strict=True))


def _chunk_at(chunks: Sequence[Chunk], content: str, start: int) -> Chunk:
    end = start + len(content)
    nearest = max((chunk for chunk in chunks if chunk.start <= start), key=lambda chunk: chunk.start, default=chunks[0])
    existing = next((chunk for chunk in chunks if (chunk.start, chunk.end) == (start, end)), None)
    return existing or replace(nearest, id=f"{nearest.document_id}#{start}-{end}", start=start, end=end, text=content)


def _chunk_without_span(chunk: Chunk, content: str) -> Chunk:
    """A chunk that cites a document without a span: its text is no slice of it."""
    ident = f"{chunk.document_id}#{digest_text(content)}"
    return replace(chunk, id=ident, start=0, end=0, text=content, ordinal=0, heading="")


def _chunk_of_unknown(document: FoundDocument) -> Chunk:
    """A chunk of no document of the index."""
    source = next(iter(_document_names(document)), "unknown")
    ident = f"{source}#{digest_text(document.page_content)}"
    return Chunk(ident, ident, 0, 0, document.page_content, title=str(document.metadata.get("title", "")), source=source)
