"""What is stored of a query, and the feedback on its answer."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from serving.pipeline.codec import Codec
from serving.pipeline.index.base import Filter
from serving.pipeline.types import Answer, Hit, Principal, Trace

FAILED = "failed"  # the role of what is no answer
FEEDBACK_SHOWN = 500  # pieces of feedback that are shown with an answer: one reader may give any number
FeedbackKind = Literal["thumbs", "rating", "correction", "regenerate", "click", "abandon"]

_TRACE = Codec(Trace)


@dataclass(frozen=True, slots=True)
class TraceRecord:
    """A trace with the columns that it is found by."""

    id: str
    at: float  # seconds since 1970
    tenant: str
    principal: str
    release: str
    role: str
    pair: str
    documents: tuple[str, ...]  # whose words are in it
    trace: Mapping[str, Any]  # as JSON

    @classmethod
    def of(cls, trace: Trace, at: float) -> "TraceRecord":
        """The record of a trace, which holds all of it."""
        who = trace.query.principal
        documents = dict.fromkeys(hit.chunk.document_id for hit in (*trace.hits, *trace.passages) if hit.chunk.text != REMOVED)
        return cls(
            id=trace.id,
            at=round(at, 6),  # as it is written in ISO 8601: the place to page on from
            tenant=who.tenant,
            principal=who.id,
            release=trace.release_digest,
            role=trace.role,
            pair=trace.pair,
            documents=tuple(documents),
            trace=_TRACE.dump(trace, sparse=True),
        )

    def value(self) -> Trace:
        """The trace, as the metrics read it."""
        return _TRACE.value(self.trace)

    def without_words_of(self, document_id: str) -> "TraceRecord":
        """The same with a mark in place of a deleted document's words, and of all that was made of them."""

        def blanked(hits: tuple[Hit, ...]) -> tuple[Hit, ...]:
            return tuple(_blanked(hit) if hit.chunk.document_id == document_id else hit for hit in hits)

        return self._changed({document_id}, blanked)

    def readable_by(self, reader: Principal, now: Collection[str] | None = None) -> "TraceRecord":
        """The same with the passages alone that a reader may find; what was made of others is left out with them.

        `now` are the documents that the reader may find as things are, where that is known: others are left out too.
        """
        trace, where = self.value(), Filter(reader.tenant, reader.groups, reader.domains)
        hidden = {
            hit.chunk.document_id
            for hit in (*trace.hits, *trace.passages)
            if not where.admits(hit.chunk) or (now is not None and hit.chunk.document_id not in now)
        }
        return self._changed(hidden, lambda hits: tuple(hit for hit in hits if hit.chunk.document_id not in hidden)) if hidden else self

    def _changed(self, documents: Collection[str], change: Callable[[tuple[Hit, ...]], tuple[Hit, ...]]) -> "TraceRecord":
        """The same with other hits, and with nothing that may have words of some documents."""
        trace = self.value()
        answer = replace(trace.answer, guidance="")  # which names what was found
        if any(hit.chunk.document_id in documents for hit in trace.passages):
            kept = trace.answer
            answer = Answer(REMOVED, refused=kept.refused, degraded=kept.degraded, model=kept.model, confidence=kept.confidence)
        query = replace(trace.query, history=())  # earlier answers, most likely of the same documents
        bare = replace(trace, query=query, prompt="", answer=answer, attempts=(), guard=(), ranking=())
        changed = replace(bare, hits=change(trace.hits), passages=change(trace.passages))
        return replace(TraceRecord.of(changed, self.at), id=self.id)


def _blanked(hit: Hit) -> Hit:
    """A hit that tells where it was and nothing of what it said."""
    chunk = replace(hit.chunk, text=REMOVED, title="", heading="", source="", version="", metadata={})
    return replace(hit, chunk=chunk, read="")


REMOVED = "(removed with the document that it was made of)"


@dataclass(frozen=True, slots=True)
class Feedback:
    """A piece of feedback on an answer; the same id again replaces it."""

    id: str
    trace_id: str
    at: float
    tenant: str
    principal: str
    kind: FeedbackKind
    value: float | None = None  # thumbs: 1 or -1; rating: 1 to 5; click: the marker
    text: str = ""  # of a correction

    @property
    def complains(self) -> bool:
        """Whether somebody says that the answer was bad."""
        return (self.kind == "thumbs" and self.value == -1.0) or self.kind == "correction"


@dataclass(frozen=True, slots=True)
class TraceQuery:
    """Which traces are asked for, the newest first or the oldest."""

    tenant: str | None = None  # None: of every tenant
    principal: str | None = None
    release: str = ""
    role: str = ""
    since: float | None = None
    before: float | None = None  # to page on: the time of the last one seen
    limit: int = 50
    oldest_first: bool = False
    failed: bool = False  # also questions that failed while a candidate was tried, of which nothing but the draw is kept
