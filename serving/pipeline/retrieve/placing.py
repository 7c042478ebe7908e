"""Finds the place of a text that somebody else found: in which document of the index it stands, and who may read that."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from langchain_core.documents import Document as FoundDocument

from serving.pipeline.digest import digest_text
from serving.pipeline.index.base import Filter, Store
from serving.pipeline.types import Chunk

EVERYTHING = Filter(everything=True)
LAST = 2**31 - 1  # no document has as many chunks
LOOKED_UP = 60  # words of a text that are looked up, where its metadata names no document
CANDIDATES = 20  # chunks that share them
NAMES = ("document_id", "id", "source")  # under which metadata may name the document
SPACE = re.compile(r"\s")


@dataclass(frozen=True, slots=True)
class Placed:
    """What became of a text: `chunk` is what may be shown of it; `known`, whether it belongs to a document of the index."""

    chunk: Chunk | None
    known: bool


@dataclass(frozen=True, slots=True)
class Placer:
    """Places the texts of one search, for one who may see what the filter admits."""

    store: Store
    where: Filter
    _seen: dict[str, list[Chunk]] = field(default_factory=dict)  # documents looked up: the chunks that may be shown

    async def place(self, found: FoundDocument) -> Placed:
        """The chunk of a text: a slice of a document where it is one, without a place where it only names one."""
        readable: Chunk | None = None
        for document_id in _named(found):
            if chunks := await self._chunks(document_id):
                if (chunk := _slice(chunks, found)) is not None:
                    return Placed(chunk, known=True)
                readable = readable or chunks[0]
            elif await self.store.slice(document_id, 0, LAST, EVERYTHING):
                return Placed(None, known=True)
        if (chunk := await self._by_text(found, self.where)) is not None:
            return Placed(chunk, known=True)
        if await self._by_text(found, EVERYTHING) is not None:
            return Placed(None, known=True)
        if readable is not None:
            return Placed(_without_place(readable, found.page_content), known=True)
        return Placed(_unknown(found), known=False)

    async def _chunks(self, document_id: str) -> list[Chunk]:
        if document_id not in self._seen:
            self._seen[document_id] = await self.store.slice(document_id, 0, LAST, self.where)
        return self._seen[document_id]

    async def _by_text(self, found: FoundDocument, where: Filter) -> Chunk | None:
        """The slice that a text is, in one of the documents that share its first words."""
        words = " ".join(found.page_content.split()[:LOOKED_UP])
        alike = await self.store.search_text(words, CANDIDATES, where)
        for document_id in dict.fromkeys(one.chunk.document_id for one in alike):
            chunk = _slice(await self.store.slice(document_id, 0, LAST, where), found)
            if chunk is not None:
                return chunk
        return None


def _named(found: FoundDocument) -> list[str]:
    """The names that a Document gives for where it comes from, each once."""
    names = [*(found.metadata.get(name) for name in NAMES), found.id]
    return list(dict.fromkeys(name for name in names if isinstance(name, str) and name))


def _slice(chunks: Sequence[Chunk], found: FoundDocument) -> Chunk | None:
    """The slice of a document, told by its chunks, that a text is."""
    content = found.page_content.strip()
    known, start = _text(chunks), found.metadata.get("start")
    if isinstance(start, int):
        start += found.page_content.index(content)
        if _stands(known, content, start):
            return _cut(chunks, content, start)
    even, wanted = _blank(known), _blank(content)
    place = even.find(wanted)
    while place >= 0:
        if _stands(known, content, place):
            return _cut(chunks, content, place)
        place = even.find(wanted, place + 1)
    return None


def _text(chunks: Sequence[Chunk]) -> str:
    """A document's text as far as its chunks tell it; what lies between them is white space, and stands as NUL."""
    text = ""
    for chunk in chunks:
        text = text.ljust(chunk.start, "\0")
        text += chunk.text[max(len(text) - chunk.start, 0) :]
    return text


def _blank(text: str) -> str:
    """The text with every white space as one and the same character, so that places stay what they are."""
    return SPACE.sub(" ", text.replace("\0", " "))


def _stands(known: str, content: str, start: int) -> bool:
    """Whether a text stands at a place: character for character where they are known, else white space."""
    there = known[start : start + len(content)] if start >= 0 else ""
    if not content or len(there) != len(content):
        return False
    return all(new.isspace() if old == "\0" else old == new for old, new in zip(there, content, strict=True))


def _cut(chunks: Sequence[Chunk], content: str, start: int) -> Chunk:
    end = start + len(content)
    holder = max((chunk for chunk in chunks if chunk.start <= start), key=lambda chunk: chunk.start, default=chunks[0])
    same = next((chunk for chunk in chunks if (chunk.start, chunk.end) == (start, end)), None)
    return same or replace(holder, id=f"{holder.document_id}#{start}-{end}", start=start, end=end, text=content)


def _without_place(chunk: Chunk, content: str) -> Chunk:
    """A text that comes with a document and is no slice of it: cites the document, and no place there."""
    ident = f"{chunk.document_id}#{digest_text(content)}"
    return replace(chunk, id=ident, start=0, end=0, text=content, ordinal=0, heading="")


def _unknown(found: FoundDocument) -> Chunk:
    """A text that belongs to no document of the index."""
    source = next(iter(_named(found)), "unknown")
    ident = f"{source}#{digest_text(found.page_content)}"
    return Chunk(ident, ident, 0, 0, found.page_content, title=str(found.metadata.get("title", "")), source=source)
