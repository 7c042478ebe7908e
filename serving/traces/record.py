"""What is kept of a query, and what people say of its answer."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from serving.pipeline.codec import Codec
from serving.pipeline.index.base import Filter
from serving.pipeline.types import Principal, Trace

FeedbackKind = Literal["thumbs", "rating", "correction", "regenerate", "click", "abandon"]
FEEDBACK_KINDS: tuple[FeedbackKind, ...] = get_args(FeedbackKind)

_TRACE = Codec(Trace)


@dataclass(frozen=True, slots=True)
class TraceRecord:
    """A trace with what it is found by."""

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
        """What is kept of a trace: all of it."""
        who = trace.query.principal
        documents = dict.fromkeys(hit.chunk.document_id for hit in (*trace.hits, *trace.passages))
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

    def without_document(self, document_id: str) -> "TraceRecord":
        """The same with nothing of a document's words: neither passages, nor the prompt and the answer that were made of them."""
        trace = self.value()
        hits = tuple(hit for hit in trace.hits if hit.chunk.document_id != document_id)
        passages = tuple(hit for hit in trace.passages if hit.chunk.document_id != document_id)
        answer = replace(trace.answer, text=REMOVED, citations=()) if len(passages) != len(trace.passages) else trace.answer
        changed = replace(trace, hits=hits, passages=passages, prompt="", answer=answer, attempts=(), guard=(), ranking=())
        return replace(TraceRecord.of(changed, self.at), id=self.id)

    def readable_by(self, reader: Principal) -> "TraceRecord":
        """The same with the passages alone that a reader may find; what was made of others is left out with them."""
        trace, where = self.value(), Filter(reader.tenant, reader.groups, reader.domains)
        hidden = [hit for hit in (*trace.hits, *trace.passages) if not where.admits(hit.chunk)]
        record = self
        for document_id in dict.fromkeys(hit.chunk.document_id for hit in hidden):
            record = record.without_document(document_id)
        return record


REMOVED = "(removed with the document that it was made of)"


@dataclass(frozen=True, slots=True)
class Feedback:
    """What somebody said of an answer; the same id again replaces it."""

    id: str
    trace_id: str
    at: float
    tenant: str
    principal: str
    kind: FeedbackKind
    value: float | None = None  # thumbs: 1 or -1; rating: 1 to 5; click: the marker
    text: str = ""  # of a correction


@dataclass(frozen=True, slots=True)
class TraceQuery:
    """Which traces are asked for, the newest first."""

    tenant: str | None = None  # None: of every tenant
    principal: str | None = None
    release: str = ""
    role: str = ""
    since: float | None = None
    before: float | None = None  # to page on: the time of the last one seen
    limit: int = 50
