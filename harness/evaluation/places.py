"""Finds the place of an app's passages in the documents of a corpus, by their text."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from harness.evaluation.subject import Subject, SubjectIdentity
from serving.pipeline.clock import Clock
from serving.pipeline.index.corpus import Corpus
from serving.pipeline.types import Chunk, Citation, Document, Hit, Query, Trace


@dataclass(frozen=True)
class PlacedSubject:
    """An app over documents that we have too: passages it shows without their place are looked up, so that retrieval can be scored."""

    app: Subject
    corpus: Corpus

    @property
    def identity(self) -> SubjectIdentity:
        """The app's identity, with the digests of the documents that its answers are checked against."""
        return replace(self.app.identity, corpus_digest=self.app.identity.corpus_digest or self.corpus.digest)

    @property
    def clock(self) -> Clock:
        """The app's clock."""
        return self.app.clock

    @property
    def serial(self) -> bool:
        """As the app has it."""
        return self.app.serial

    async def answer(self, query: Query) -> Trace:
        """The app's answer, its passages with their places."""
        trace = await self.app.answer(query)
        placed = {hit.chunk.id: replace(hit, chunk=self._place(hit.chunk)) for hit in trace.hits}
        citations = tuple(self._place_citation(citation, placed) for citation in trace.answer.citations)
        hits = tuple(placed[hit.chunk.id] for hit in trace.hits)
        passages = tuple(placed.get(hit.chunk.id, hit) for hit in trace.passages)
        return replace(trace, hits=hits, passages=passages, answer=replace(trace.answer, citations=citations))

    @cached_property
    def _documents(self) -> Mapping[str, Document]:
        return {document.id: document for document in self.corpus.documents}

    def _place(self, chunk: Chunk) -> Chunk:
        document = self._find_document(chunk.document_id)
        if document is not None and 0 <= chunk.start < chunk.end <= len(document.text):
            return replace(chunk, document_id=document.id)
        text = chunk.text.strip()
        for candidate in [document] if document else self._documents.values():
            start = candidate.text.find(text) if text else -1
            if start >= 0:
                return replace(chunk, document_id=candidate.id, start=start, end=start + len(text))
        return replace(chunk, document_id=document.id) if document else chunk

    def _find_document(self, name: str) -> Document | None:
        """The document of this id, or the only one that a path ends with."""
        if not name or name in self._documents:
            return self._documents.get(name)
        matches = [document for ident, document in self._documents.items() if name.replace("\\", "/").endswith(f"/{ident}")]
        return matches[0] if len(matches) == 1 else None

    @staticmethod
    def _place_citation(citation: Citation, placed: Mapping[str, Hit]) -> Citation:
        hit = placed.get(citation.chunk_id)
        return replace(citation, span=hit.chunk.span) if hit else citation
