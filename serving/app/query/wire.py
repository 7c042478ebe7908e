"""Request and response bodies of questions."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Annotated, Any, Final, Self

from pydantic import ConfigDict, Field, JsonValue, StringConstraints

from serving.app.core.wire import Name, Wire
from serving.app.query.snippet import claims_by_marker, content_words, snippet
from serving.pipeline.guard.placeholders import Placeholders
from serving.pipeline.types import STATUS, Chunk, Hit, Principal, Query, Trace, Turn

TurnText = Annotated[str, StringConstraints(max_length=4000)]
Value = Annotated[str, StringConstraints(max_length=200)]
EXAMPLES: Final[tuple[JsonValue, ...]] = (
    {
        "answer": "Everyone has 28 days of paid leave a year [1]. Directors have 90 days [unsupported].",
        "citations": [
            {
                "marker": 1,
                "document": "hr/leave-policy.md",
                "title": "Leave policy",
                "heading": "Paid leave",
                "start": 120,
                "end": 171,
                "text": "Everyone has 28 days of paid leave a year.",
                "snippet": "Everyone has 28 days of paid leave a year.",
                "version": "3.1",
                "status": "current",
                "support": 1.0,
            }
        ],
        "confidence": 0.41,
        "warnings": ["Not supported by the documents: “Directors have 90 days”."],
        "refused": False,
        "model": "bedrock_converse:amazon.nova-lite-v1:0",
        "route": {"tier": "lite", "reason": "complexity 0.20"},
        "usage": {"input_tokens": 1210, "output_tokens": 24, "usd": 0.00008},
        "milliseconds": 640.0,
        "release": "5ee318a26c25300d",
        "trace_id": "0f2b6d3c9a41e788",
    },
    {
        "answer": "The documents I can see do not answer this question. The nearest document is “Leave policy”.",
        "refused": True,
        "model": "bedrock_converse:amazon.nova-lite-v1:0",
        "usage": {"input_tokens": 1187, "output_tokens": 12, "usd": 0.00007},
        "milliseconds": 510.0,
        "release": "5ee318a26c25300d",
        "trace_id": "77c1a09be2d4f315",
    },
)


class TurnIn(Wire):
    """A turn of the conversation before."""

    question: TurnText = Field(description="what was asked")
    answer: TurnText = Field(default="", description="what was answered")


class QueryIn(Wire):
    """A question and where to search; the caller is known by its key."""

    question: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)] = Field(
        description="what to answer", json_schema_extra={"pattern": r"\S"}
    )
    domains: tuple[Name, ...] = Field(default=(), max_length=32, description="look only here; empty: everywhere the caller may")
    metadata: dict[Name, Value] = Field(default_factory=dict, max_length=16, description="look only in documents with these values")
    history: tuple[TurnIn | TurnText, ...] = Field(
        default=(),
        max_length=20,
        description="the conversation before, the oldest turn first; a text alone is a question. The last ones complete a follow-up",
    )
    session: Name | None = Field(default=None, description="any id of a conversation: while two releases are tried, one of them answers it")

    def query(self, principal: Principal, request_id: str) -> Query:
        """The question as the pipeline takes it."""
        turns = (Turn(turn) if isinstance(turn, str) else Turn(turn.question, turn.answer) for turn in self.history)
        history = tuple(turn for turn in turns if turn.question.strip())
        return Query(self.question, principal, self.domains, self.metadata, request_id, history)


class CitationOut(Wire):
    """One `[n]` of the answer and the text it points to."""

    marker: int
    document: str
    title: str = ""
    heading: str = ""
    start: int = Field(description="offset of the text in its document, in characters")
    end: int
    text: str = ""
    snippet: str = Field(default="", description="of that text, word for word, the part that the answer leans on most")
    version: str = Field(default="", description="of the document, as it says")
    status: str = Field(default="", description="of the document, as it says: current, draft, superseded, …")
    support: float | None = Field(
        default=None, description="the least probability that the text supports a statement which cites it; null where no check tells"
    )


class RouteOut(Wire):
    """Which tier of model answered, and why."""

    tier: str
    reason: str


class CacheOut(Wire):
    """The origin of a cached answer."""

    kind: str = Field(default="", description="exact, semantic, or shared: with an equal question that was being answered")
    similarity: float = Field(description="of the question that it was written for; 1: the very same")
    age_s: float
    trace_id: str = Field(description="of that question")

    @classmethod
    def of(cls, trace: Trace) -> Self | None:
        """Where a query's answer is from, if it was remembered."""
        record = trace.cache
        if record is None or not record.hit:
            return None
        return cls(kind=record.kind, similarity=record.similarity or 0.0, age_s=record.age_s or 0.0, trace_id=record.writer)


class UsageOut(Wire):
    """What the answer cost."""

    input_tokens: int = 0
    output_tokens: int = 0
    usd: float = 0.0
    simulated: bool = Field(default=False, description="the money is that of a model a local one stands in for")
    priced: bool = Field(default=True, description="false: a price or the tokens are unknown, and usd is not the whole cost")

    @classmethod
    def of(cls, trace: Trace) -> Self:
        """All calls of a query together."""
        calls = trace.usage
        return cls(
            input_tokens=sum(usage.input_tokens for usage in calls),
            output_tokens=sum(usage.output_tokens for usage in calls),
            usd=trace.usd,
            simulated=any(usage.simulated for usage in calls),
            priced=all(usage.priced for usage in calls),
        )


class AnswerOut(Wire):
    """The answer with its citations and how it was made."""

    model_config = ConfigDict(json_schema_extra={"examples": list(EXAMPLES)})

    answer: str = Field(description="the text; behind a refusal, the nearest documents and what to ask them about")
    question: str = Field(default="", description="what was answered, where a follow-up was rewritten to stand alone; else empty")
    citations: tuple[CitationOut, ...] = ()
    confidence: float | None = Field(default=None, description="the probability that the answer is right; null where no check tells it")
    warnings: tuple[str, ...] = Field(default=(), description="what the reader should know, in plain sentences to be shown as they are")
    refused: bool = Field(description="the passages do not answer, or a guard said no")
    degraded: bool = Field(default=False, description="no model answered: the text is passages that were found, and no answer")
    truncated: bool = Field(default=False, description="the model hit its output limit")
    cached: bool = False
    cache: CacheOut | None = Field(default=None, description="null unless the answer is a remembered one")
    model: str
    route: RouteOut | None = Field(default=None, description="null when no model was needed; of a remembered answer, how it was written")
    usage: UsageOut
    milliseconds: float
    release: str
    role: str = Field(default="stable", description="of that release: stable, or the canary that is tried beside it, or both interleaved")
    trace_id: str
    trace: dict[str, Any] | None = Field(default=None, description="all that happened, where the server exposes it and ?trace=1 asks")

    @classmethod
    def of(cls, trace: Trace, placeholders: Placeholders | None = None, *, with_trace: bool = False) -> Self:
        """A trace as the caller reads it: what the guard masked in the question is named again in the answer, and not in the trace."""
        return cls(
            answer=placeholders.restore(trace.answer.shown) if placeholders else trace.answer.shown,
            question=placeholders.restore(trace.question) if placeholders else trace.question,
            citations=citations(trace),
            confidence=trace.answer.confidence,
            warnings=tuple(placeholders.restore(one) for one in trace.answer.warnings) if placeholders else trace.answer.warnings,
            refused=trace.answer.refused,
            degraded=trace.answer.degraded,
            truncated=trace.answer.truncated,
            cached=trace.cached,
            cache=CacheOut.of(trace),
            model=trace.answer.model,
            route=RouteOut(tier=trace.route.tier, reason=trace.route.reason) if trace.route else None,
            usage=UsageOut.of(trace),
            milliseconds=trace.milliseconds,
            release=trace.release_digest,
            role=trace.role,
            trace_id=trace.id,
            trace=json_data(trace) if with_trace else None,
        )


class PassageOut(Wire):
    """A passage that was found."""

    document: str
    title: str = ""
    heading: str = ""
    domain: str = ""
    source: str = ""
    version: str = ""
    start: int = Field(description="offset of the text in its document, in characters")
    end: int
    text: str
    snippet: str = Field(default="", description="of that text, word for word, the part that has most of the question's words")
    status: str = Field(default="", description="of the document, as it says: current, draft, superseded, …")
    score: float
    metadata: dict[str, str] = Field(default_factory=dict)

    @classmethod
    def of(cls, hit: Hit, asked: frozenset[str] = frozenset()) -> Self:
        """A hit as the caller sees it; `asked` are the question's words, for the snippet."""
        chunk = hit.chunk
        return cls(
            document=chunk.document_id,
            title=chunk.title,
            heading=chunk.heading,
            domain=chunk.domain,
            source=chunk.source,
            version=chunk.version,
            start=chunk.start,
            end=chunk.end,
            text=chunk.text,
            snippet=snippet(chunk.text, asked),
            status=chunk.metadata.get(STATUS, ""),
            score=hit.score,
            metadata=dict(chunk.metadata),
        )


class RetrievedOut(Wire):
    """The passages that an answer would be written from, best first."""

    passages: tuple[PassageOut, ...]
    question: str = Field(default="", description="what was looked for, where a follow-up was rewritten to stand alone; else empty")
    blocked: str = Field(default="", description="what is said instead, where a guard said no")
    milliseconds: float
    release: str
    role: str
    trace_id: str

    @classmethod
    def of(cls, trace: Trace) -> Self:
        """What a search found."""
        asked = content_words(trace.query.text)
        return cls(
            passages=tuple(PassageOut.of(hit, asked) for hit in trace.hits),
            question=trace.question,
            blocked=trace.answer.text,
            milliseconds=trace.milliseconds,
            release=trace.release_digest,
            role=trace.role,
            trace_id=trace.id,
        )


def citations(trace: Trace) -> tuple[CitationOut, ...]:
    """The citations of an answer with their texts; a cached answer has its passages."""
    chunks = {hit.chunk.id: hit.chunk for hit in trace.passages}
    claims = claims_by_marker(trace.answer.text) if trace.answer.citations else {}
    resolved: list[CitationOut] = []
    for citation in trace.answer.citations:
        chunk, span = chunks.get(citation.chunk_id), citation.span
        shown = _shown(chunk, claims.get(citation.marker, frozenset())) if chunk else {}
        place = {"document": span.document_id, "start": span.start, "end": span.end}
        resolved.append(CitationOut(marker=citation.marker, support=citation.support, **place, **shown))
    return tuple(resolved)


def _shown(chunk: Chunk, claim: frozenset[str]) -> dict[str, str]:
    words = {"text": chunk.text, "snippet": snippet(chunk.text, claim)}
    return {"title": chunk.title, "heading": chunk.heading, "version": chunk.version, "status": chunk.metadata.get(STATUS, ""), **words}


def json_data(value: Any) -> Any:
    """A value of the pipeline as JSON-like data."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: json_data(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): json_data(item) for key, item in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted(json_data(item) for item in value)
    if isinstance(value, (list, tuple)):
        return [json_data(item) for item in value]
    return value.value if isinstance(value, Enum) else value
