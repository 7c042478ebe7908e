"""Traces and feedback as they go over the wire."""

import math
from datetime import UTC, datetime
from typing import Annotated, Any, Self

from pydantic import ConfigDict, Field, StringConstraints, model_validator

from serving.app.core.wire import Name, Wire
from serving.app.query.wire import CitationOut, RouteOut, UsageOut, citations
from serving.pipeline.types import Hit, Trace
from serving.traces.record import Feedback, FeedbackKind, TraceRecord

Text = Annotated[str, StringConstraints(max_length=4000)]


class FoundOut(Wire):
    """A passage that was found."""

    document: str
    title: str = ""
    start: int
    end: int
    text: str
    score: float
    sources: dict[str, float] = Field(default_factory=dict, description="the rank that each search gave it")

    @classmethod
    def of(cls, hit: Hit) -> Self:
        """A hit."""
        chunk = hit.chunk
        ranks = {name: float(source.rank) for name, source in hit.sources.items()}
        shown = {"document": chunk.document_id, "title": chunk.title, "start": chunk.start, "end": chunk.end, "text": chunk.text}
        return cls(score=hit.score, sources=ranks, **shown)


class StageOut(Wire):
    """One stage and its time."""

    stage: str
    milliseconds: float
    detail: dict[str, Any] = Field(default_factory=dict)


class VerdictOut(Wire):
    """What a check decided."""

    side: str
    check: str
    action: str
    rule: str = ""
    reason: str = ""
    excerpt: str = ""


THUMBS, RATINGS, MARKERS = (1.0, -1.0), (1.0, 2.0, 3.0, 4.0, 5.0), (1.0, 1000.0)  # the last: from, to


def _where(kind: FeedbackKind, field: str, **schema: Any) -> dict[str, Any]:
    """What a field has to be for one kind of feedback, as JSON Schema says it."""
    return {"if": {"properties": {"kind": {"const": kind}}}, "then": {"properties": {field: schema}, "required": [field]}}


class FeedbackIn(Wire):
    """What a reader says of an answer; the same `id` again replaces what it said before."""

    model_config = ConfigDict(
        json_schema_extra={
            "allOf": [
                _where("thumbs", "value", enum=list(THUMBS)),
                _where("rating", "value", enum=list(RATINGS)),
                _where("click", "value", type="number", minimum=MARKERS[0], maximum=MARKERS[1]),
                _where("correction", "text", type="string", pattern=r"\S"),
            ]
        }
    )

    trace_id: Name
    kind: FeedbackKind
    value: float | None = Field(
        default=None, strict=True, allow_inf_nan=False, description="thumbs: 1 or -1; rating: 1 to 5; click: the marker"
    )
    text: Text = Field(default="", description="of a correction")
    id: Name | None = Field(default=None, description="of this piece of feedback; default: one of each kind for an answer and a reader")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        allowed: dict[str, tuple[float, ...]] = {"thumbs": THUMBS, "rating": RATINGS}
        if self.kind in allowed and self.value not in allowed[self.kind]:
            raise ValueError(f"value of {self.kind} is one of {', '.join(f'{one:g}' for one in allowed[self.kind])}")
        if self.kind == "click" and (self.value is None or not MARKERS[0] <= self.value <= MARKERS[1]):
            raise ValueError("value of a click is the marker of the citation")
        if self.kind == "correction" and not self.text.strip():
            raise ValueError("text of a correction is what would have been right")
        return self


class FeedbackOut(Wire):
    """Feedback that is kept."""

    id: str
    trace_id: str
    kind: str
    value: float | None
    text: str
    at: str

    @classmethod
    def of(cls, feedback: Feedback) -> Self:
        """What was kept."""
        return cls(
            id=feedback.id,
            trace_id=feedback.trace_id,
            kind=feedback.kind,
            value=feedback.value if feedback.value is None or math.isfinite(feedback.value) else None,
            text=feedback.text,
            at=time_text(feedback.at),
        )


class TraceOut(Wire):
    """The whole journey of a question."""

    id: str
    at: str
    tenant: str
    principal: str
    release: str
    role: str
    pair: str = ""
    query: str
    question: str = Field(default="", description="what was answered, where a follow-up was rewritten to stand alone")
    retrieved_docs: tuple[FoundOut, ...]
    retrieval_scores: tuple[float, ...]
    reranked_docs: tuple[FoundOut, ...] = Field(description="the passages that the model read, in their order")
    final_prompt: str
    llm_response: str
    citations: tuple[CitationOut, ...] = ()
    refused: bool
    degraded: bool = False
    cached: bool
    confidence: float | None = None
    warnings: tuple[str, ...] = ()
    model: str
    route: RouteOut | None = None
    latency: tuple[StageOut, ...]
    milliseconds: float
    guard: tuple[VerdictOut, ...] = ()
    usage: UsageOut
    feedback: tuple[FeedbackOut, ...] = ()

    @classmethod
    def of(cls, record: TraceRecord, feedback: list[Feedback]) -> Self:
        """A record as a reader may see it."""
        trace: Trace = record.value()
        found = tuple(FoundOut.of(hit) for hit in trace.hits)
        return cls(
            id=record.id,
            at=time_text(record.at),
            tenant=record.tenant,
            principal=record.principal,
            release=record.release,
            role=record.role,
            pair=record.pair,
            query=trace.query.text,
            question=trace.question,
            retrieved_docs=found,
            retrieval_scores=tuple(one.score for one in found),
            reranked_docs=tuple(FoundOut.of(hit) for hit in trace.passages),
            final_prompt=trace.prompt,
            llm_response=trace.answer.text,
            citations=citations(trace),
            refused=trace.answer.refused,
            degraded=trace.answer.degraded,
            cached=trace.cached,
            confidence=trace.answer.confidence,
            warnings=trace.answer.warnings,
            model=trace.answer.model,
            route=RouteOut(tier=trace.route.tier, reason=trace.route.reason) if trace.route else None,
            latency=tuple(StageOut(stage=one.stage, milliseconds=one.milliseconds, detail=dict(one.detail)) for one in trace.stages),
            milliseconds=trace.milliseconds,
            guard=tuple(
                VerdictOut(side=one.side, check=one.check, action=one.action, rule=one.rule, reason=one.reason, excerpt=one.excerpt)
                for one in trace.guard
            ),
            usage=UsageOut.of(trace),
            feedback=tuple(FeedbackOut.of(one) for one in feedback),
        )


class TraceLine(Wire):
    """A trace in a list."""

    id: str
    at: str
    tenant: str
    principal: str
    release: str
    role: str
    query: str
    refused: bool
    degraded: bool = False
    cached: bool
    usd: float
    milliseconds: float

    @classmethod
    def of(cls, record: TraceRecord) -> Self:
        """A record in a line."""
        trace = record.value()
        return cls(
            id=record.id,
            at=time_text(record.at),
            tenant=record.tenant,
            principal=record.principal,
            release=record.release,
            role=record.role,
            query=trace.query.text,
            refused=trace.answer.refused,
            degraded=trace.answer.degraded,
            cached=trace.cached,
            usd=trace.usd,
            milliseconds=trace.milliseconds,
        )


class TracesOut(Wire):
    """Traces, the newest first."""

    traces: tuple[TraceLine, ...]
    next: str | None = Field(description="give it as `before` for those that are older; null: there are none")


def time_text(at: float) -> str:
    """A time as ISO 8601 in UTC."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds")


def written_out(text: str) -> str:
    """A time as in ISO 8601; a number alone, which might be seconds or milliseconds, is none."""
    if text.strip().lstrip("+-").replace(".", "", 1).isdigit():
        raise ValueError("is written as in ISO 8601")
    return text


def seconds_of(at: datetime | None) -> float | None:
    """A time as stores have it; UTC, where it names no zone."""
    if at is None:
        return None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
