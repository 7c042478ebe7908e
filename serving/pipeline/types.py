"""The values passed between stages; all are frozen."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from serving.pipeline.digest import digest_of

KEPT = frozenset({"kept_ms", "kept_parts"})  # keys of a stage's detail that mark an output computed for an earlier query
STATUS = "status"  # the key of a document's metadata that says whether it still holds: current, draft, superseded, …
PUBLIC = "public"  # the tenant whose documents everyone may read


@dataclass(frozen=True, slots=True)
class Span:
    """A half-open range of characters in one document's text."""

    document_id: str
    start: int
    end: int

    def overlap(self, other: "Span") -> int:
        """How many characters both spans cover."""
        if self.document_id != other.document_id:
            return 0
        return max(0, min(self.end, other.end) - max(self.start, other.start))

    def __len__(self) -> int:
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Document:
    """A source text; offsets into `text` never change while `digest` is the same."""

    id: str
    text: str
    title: str = ""
    domain: str = "general"
    source: str = ""
    version: str = ""
    tenant: str = PUBLIC
    groups: tuple[str, ...] = ()  # who may read it: `group` of its tenant, or `tenant/group`; empty: everyone of the tenant
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """Digest of the text and of all that retrieval can filter or show."""
        facts = [self.id, self.text, self.title, self.domain, self.version, self.tenant]
        return digest_of([*facts, sorted(self.groups), sorted(self.metadata.items())])


@dataclass(frozen=True, slots=True)
class Chunk:
    """An exact slice of a document: `document.text[start:end] == text`."""

    id: str
    document_id: str
    start: int
    end: int
    text: str
    ordinal: int = 0  # its place among the document's chunks
    title: str = ""
    heading: str = ""  # "Section > Subsection" above the slice
    domain: str = "general"
    source: str = ""
    version: str = ""
    tenant: str = PUBLIC
    groups: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    instruction_score: float = 0.0  # how sure the detector was, when the chunk was indexed, that it gives orders to a model

    @property
    def span(self) -> Span:
        """Where the chunk lies."""
        return Span(self.document_id, self.start, self.end)


@dataclass(frozen=True, slots=True)
class Principal:
    """The caller, and with it the documents that may be found."""

    id: str = "anonymous"
    tenant: str = PUBLIC
    groups: frozenset[str] = frozenset()  # of the tenant
    domains: frozenset[str] | None = None  # None: every domain


@dataclass(frozen=True, slots=True)
class Turn:
    """An earlier question of a conversation with its answer, where known. Both come from the client and are not trusted."""

    question: str
    answer: str = ""

    @property
    def texts(self) -> tuple[str, ...]:
        """Question and answer."""
        return (self.question, self.answer) if self.answer else (self.question,)


@dataclass(frozen=True, slots=True)
class Query:
    """A question, who asks it and where to look."""

    text: str
    principal: Principal = Principal()
    domains: tuple[str, ...] = ()  # empty: all that the principal may see
    metadata: Mapping[str, str] = field(default_factory=dict)
    id: str = ""
    history: tuple[Turn, ...] = ()  # the conversation before, oldest first
    language: str = ""  # of the answer; empty: the question's


@dataclass(frozen=True, slots=True)
class SourceRank:
    """The rank and score that one searcher gave a chunk."""

    rank: int
    score: float


@dataclass(frozen=True, slots=True)
class Hit:
    """A chunk found for a query; `score` orders the hits, `sources` says who found it."""

    chunk: Chunk
    score: float
    rank: int = 0  # from 1, in the order handed on
    sources: Mapping[str, SourceRank] = field(default_factory=dict)
    read: str = ""  # what a model reads of it, where a guard has cut something out; empty: the chunk's text


@dataclass(frozen=True, slots=True)
class Route:
    """Which tier of model answers, and why."""

    tier: str  # a key of the config's answer.models
    reason: str
    score: float = 0.0  # what was compared with the thresholds: complexity, expected gain, …
    features: Mapping[str, float] = field(default_factory=dict)
    domain: str = ""  # whose prompt family answers; empty: that of the first passages


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens and money of calls to one model."""

    model: str
    input_tokens: int = 0
    output_tokens: int = 0
    usd: float = 0.0
    simulated: bool = False  # the money is that of the model a local one stands in for
    calls: int = 1
    priced: bool = True  # False: the price or the tokens are unknown, and `usd` is not the whole cost
    stage: str = "answer"  # which stage called: retrieve for a hosted embedding model or reranker, guard for a paid check
    estimated: bool = False  # the tokens are estimated by the length of the text: the provider did not report them


@dataclass(frozen=True, slots=True)
class Citation:
    """One `[n]` of an answer and the passage it points to."""

    marker: int
    chunk_id: str
    span: Span
    support: float | None = None  # the least probability that the passage supports a claim citing it, where an output check computes it


@dataclass(frozen=True, slots=True)
class Answer:
    """What the user reads."""

    text: str
    citations: tuple[Citation, ...] = ()
    refused: bool = False
    model: str = ""
    truncated: bool = False  # the model hit its output limit
    confidence: float | None = None  # the probability that it is right, where an output check computes it
    warnings: tuple[str, ...] = ()  # what its reader should know: claims that no passage supports, low confidence
    guidance: str = ""  # of a refusal: what was found, and what to ask instead
    mean_logprob: float | None = None  # of a token, where the provider reports it
    degraded: bool = False  # no model answered: passages alone

    @property
    def shown(self) -> str:
        """The text as shown: a refusal is followed by its guidance."""
        return f"{self.text} {self.guidance}" if self.guidance else self.text


@dataclass(frozen=True, slots=True)
class Attempt:
    """An answer that was replaced by one of a dearer tier."""

    route: Route
    answer: Answer


@dataclass(frozen=True, slots=True)
class ModelOutage:
    """A model that did not answer; the reason is in the log."""

    tier: str
    model: str
    error: str  # the name of the error's class


class GuardAction(StrEnum):
    """What a check decided."""

    ALLOW = "allow"
    FLAG = "flag"  # continues unchanged, and is reported
    MASK = "mask"
    BLOCK = "block"


@dataclass(frozen=True, slots=True)
class GuardVerdict:
    """The verdict of a check on a text; `text` is the text to continue with, or the block message."""

    side: str  # input | passages | output
    action: GuardAction
    text: str
    reason: str = ""
    check: str = ""  # its name in the configuration
    score: float | None = None
    rule: str = ""  # which of its rules fired; "error": it failed, "timeout": it took too long
    usage: tuple[Usage, ...] = ()  # also in the trace's own usage
    milliseconds: float = 0.0
    excerpt: str = ""  # of what the rule fired on, without personal data
    chunk_id: str = ""  # of the passage that was checked
    warning: str = ""  # for the reader of the answer
    confidence: float | None = None  # the probability that the answer is right, where the check computes it


@dataclass(frozen=True, slots=True)
class CacheRecord:
    """The result of the cache lookup of a query."""

    hit: bool
    similarity: float | None = None  # of the question that answers this one; on a miss, of the nearest one where it is known
    age_s: float | None = None  # of the answer
    writer: str = ""  # id of the trace that the answer is from
    kind: str = ""  # of a hit: exact | semantic | shared (with an equal question that was being answered)
    reason: str = ""  # why the nearest question was no hit


@dataclass(frozen=True, slots=True)
class StageRecord:
    """One stage of one query: the digest of its inputs, its duration and details."""

    stage: str
    input_digest: str
    milliseconds: float
    detail: Mapping[str, Any] = field(default_factory=dict)

    @property
    def kept(self) -> bool:
        """Whether its output, or a part of it, was computed for an earlier query; its time is then not a measurement."""
        return not KEPT.isdisjoint(self.detail)


@dataclass(frozen=True, slots=True)
class Draw:
    """The draw that decided whether the stable release or a candidate answers a caller."""

    candidate: str  # its release's digest
    mode: str
    share: float  # the caller's number between 0 and 1, the same for all its questions; it does not identify the caller
    weight: float  # callers below it get the candidate


@dataclass(frozen=True, slots=True, repr=False)
class Trace:
    """The record of one query: metrics, logs and reports are computed from it alone."""

    id: str
    query: Query
    config_digest: str
    index_digest: str
    release_digest: str = ""
    index_version: str = ""
    started_at: str = ""  # ISO 8601, UTC
    stages: tuple[StageRecord, ...] = ()
    guard: tuple[GuardVerdict, ...] = ()
    hits: tuple[Hit, ...] = ()
    passages: tuple[Hit, ...] = ()  # the hits that fitted into the prompt, as numbered there
    dropped_passages: int = 0  # hits that did not fit
    ranking: tuple[Span, ...] = ()  # spans in the order of the search, beyond the cut at top_k; only in evaluations that ask for it
    route: Route | None = None
    prompt_id: str = ""  # answer/general/v3
    prompt: str = ""  # as the model read it
    question: str = ""  # the standalone question, where a follow-up was rewritten
    answer: Answer = Answer("")
    attempts: tuple[Attempt, ...] = ()  # what cheaper tiers answered before
    outages: tuple[ModelOutage, ...] = ()  # models that did not answer, before the fallback or the passages alone
    usage: tuple[Usage, ...] = ()
    cache: CacheRecord | None = None  # None: there is no cache
    milliseconds: float = 0.0
    first_token_ms: float | None = None
    role: str = "stable"  # of the release that answered: stable | canary | shadow | interleave
    pair: str = ""  # of a shadow: the trace of the answer that its caller was shown
    disagreement: str | None = None  # of a shadow: why its answer and the shown one disagree; empty: they agree; None: not compared
    draw: Draw | None = None  # None: there was no candidate to draw
    caller: str = ""  # the traceparent that the question came with

    def __repr__(self) -> str:
        seen = f"{len(self.hits)} hits, {self.milliseconds:.0f} ms, ${self.usd:.6f}"
        return f"<Trace {self.id}: {self.query.text[:200]!r} → {self.answer.text[:600]!r}, {seen}>"

    @property
    def cached(self) -> bool:
        """Whether the answer is one that was written for an earlier question."""
        return self.cache is not None and self.cache.hit

    @property
    def kept(self) -> bool:
        """Whether any of its stages was computed for an earlier query, so that its time is no measurement."""
        return any(stage.kept for stage in self.stages)

    @property
    def usd(self) -> float:
        """What the query cost."""
        return sum(usage.usd for usage in self.usage)
