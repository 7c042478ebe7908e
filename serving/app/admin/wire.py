"""Messages of the routes for administrators."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, StringConstraints

from serving.app.core.wire import Wire
from serving.app.release.wire import ReadyOut
from serving.app.traces.wire import FeedbackOut
from serving.release.channel import Mode

Reason = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500)]
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{8,64}$")]
EXAMPLE = "5ee318a26c25300d"


def _no_truth(value: object) -> object:
    """A number as JSON has it, 3 or 3.0; true would be read as 1, and a text as what it spells."""
    if isinstance(value, bool | str):
        raise ValueError("a number is needed")  # noqa: TRY004 — what pydantic takes for a mistake of the caller
    return value


Revision = Annotated[int, Field(ge=0, le=2**53), BeforeValidator(_no_truth)]


class PercentilesOut(Wire):
    """Times in milliseconds below which half, 95 and 99 of 100 lie."""

    count: int
    p50_ms: float
    p95_ms: float
    p99_ms: float


class BucketOut(Wire):
    """What happened in one stretch of the window."""

    at: str = Field(description="when it begins")
    questions: int = 0
    cached: int = 0
    refused: int = 0
    degraded: int = 0
    usd: float = 0.0
    p50_ms: float | None = None
    p95_ms: float | None = None


class StageTimeOut(Wire):
    """The times of one stage."""

    stage: str
    times: PercentilesOut


class ShareOut(Wire):
    """The questions of one kind: a tier, a model, a way of the cache."""

    name: str
    questions: int
    usd: float
    simulated: bool = False


class ReleaseTrafficOut(Wire):
    """What one release did in one role."""

    release: str
    role: str
    questions: int
    refused: int
    cached: int
    usd: float
    times: PercentilesOut | None
    thumbs_up: int = 0
    thumbs_down: int = 0


class IncidentOut(Wire):
    """What a check did other than allow."""

    at: str
    trace_id: str
    release: str
    side: str
    check: str
    rule: str
    action: str


class CountOut(Wire):
    """How often something happened."""

    name: str
    count: int


class TrafficOut(Wire):
    """The caller's tenant in a window of time, counted from the traces of every replica.

    Shadows, whose answers nobody saw, are in `releases` alone.
    """

    since: str
    until: str
    traces: int
    complete: bool = Field(description="false: only the newest traces of the window were counted, from `since` on")
    questions: int
    cached: int
    refused: int
    degraded: int = Field(description="passages alone, since no model answered; not those that were refused")
    usd: float
    simulated: bool = Field(description="the money is that of models which local ones stand in for")
    input_tokens: int
    output_tokens: int
    times: PercentilesOut | None
    first_token: PercentilesOut | None
    confidence: float | None = Field(description="the mean of the answers that have one")
    buckets: tuple[BucketOut, ...]
    stages: tuple[StageTimeOut, ...]
    routes: tuple[ShareOut, ...]
    models: tuple[ShareOut, ...]
    cache: tuple[ShareOut, ...]
    releases: tuple[ReleaseTrafficOut, ...]
    incidents: tuple[IncidentOut, ...] = Field(description="the newest")
    incident_counts: tuple[CountOut, ...]
    feedback: tuple[FeedbackOut, ...] = Field(description="the newest")
    feedback_counts: tuple[CountOut, ...]


class RouteTrafficOut(Wire):
    """Requests to one route."""

    route: str
    requests: int
    errors: int = Field(description="answered with 500 or above")
    refused: int = Field(description="answered with 400 to 499")
    times: PercentilesOut | None = Field(description="estimated from a histogram")


class SpendingOut(Wire):
    """What one model cost."""

    model: str
    usd: float
    simulated: bool


class BudgetOut(Wire):
    """A day's budget, and what of it is spent."""

    account: str = Field(description="server, or tenant/id of a key")
    limit_usd: float
    spent_usd: float | None = Field(description="null: the ledger does not answer")


class ReplicaOut(Wire):
    """The numbers of the one process that answers this request, since it began."""

    started_at: str
    version: str
    memory_bytes: int | None
    running: int
    waiting: int
    connections: int
    routes: tuple[RouteTrafficOut, ...]
    failed: tuple[CountOut, ...] = Field(description="questions without an answer, by what went wrong")
    stages: tuple[StageTimeOut, ...] = Field(description="estimated from histograms")
    spending: tuple[SpendingOut, ...]
    cache_hits: tuple[CountOut, ...]
    cache_misses: tuple[CountOut, ...]
    traces_waiting: int
    traces_lost: int
    shadows_left_out: int
    budgets: tuple[BudgetOut, ...]
    ready: ReadyOut


class ChangeOut(Wire):
    """One change of a channel."""

    at: str
    kind: Literal["stable", "candidate", "withdrawal", "approval"]
    before: str
    to: str
    who: str
    why: str
    mode: Mode | None = None
    weight: float | None = None
    until: str = ""


class CandidateOut(Wire):
    """What is tried beside the stable release."""

    release: str
    mode: Mode
    weight: float


class ChannelOut(Wire):
    """A channel with its history, the newest first."""

    name: str
    served_here: bool = Field(description="this is the channel that this server serves")
    needs_approval: bool
    needs_proof: bool
    stable: str = Field(description="empty: nothing yet")
    evidence: str
    candidate: CandidateOut | None
    approved: tuple[str, ...] = Field(description="releases whose approval holds now")
    rollback_to: str = Field(description="what a rollback would bring back; empty: nothing was served before")
    revision: int = Field(description="0: the channel has no document yet")
    updated_at: str
    history: tuple[ChangeOut, ...]
    problem: str = Field(default="", description="why its document cannot be read; empty: it can")


class ChannelsOut(Wire):
    """Every channel."""

    channels: tuple[ChannelOut, ...]
    may_move: bool = Field(description="whether the caller may change them")


class MeasuredOut(Wire):
    """A metric with its interval."""

    metric: str
    mean: float | None
    low: float | None
    high: float | None
    scored: int


class ListedReleaseOut(Wire):
    """A release, and what proves it."""

    digest: str
    problem: str = Field(default="", description="why it is not whole; nothing can point at it then")
    corpus: str = ""
    documents: int = 0
    chunks: int = 0
    created_at: str = Field(default="", description="of its newest evidence")
    evidence: int = 0
    gate: str = Field(default="", description="of the newest decision; empty: none")
    state: str = Field(default="", description="what that gate decided: pass, fail, …")
    forced: bool = False
    measured_on: str = ""
    metrics: tuple[MeasuredOut, ...] = ()
    channels: tuple[str, ...] = Field(default=(), description="that accept its evidence")


class ReleasesOut(Wire):
    """Releases, the newest first."""

    releases: tuple[ListedReleaseOut, ...]
    total: int


class _MoveIn(Wire):
    why: Reason = Field(description="kept in the channel's history", examples=["read the report of the week"])
    revision: Revision = Field(description="of the channel as the caller has seen it; a newer one is left as it is", examples=[3])


class PromoteIn(_MoveIn):
    """Point the channel at a release that is there and proven."""

    release: Digest = Field(examples=[EXAMPLE])


class ApproveIn(_MoveIn):
    """Let a release be served on a channel that needs an approval."""

    release: Digest = Field(examples=[EXAMPLE])
    hours: float = Field(default=72.0, gt=0, le=2160, description="how long the approval holds")


class RollbackIn(_MoveIn):
    """Point the channel at what it pointed at before, or at another release that it has served."""

    release: Digest | None = Field(default=None, description="default: the one before the last move", examples=[EXAMPLE])


class CandidateIn(_MoveIn):
    """Try a release beside the stable one."""

    release: Digest = Field(examples=[EXAMPLE])
    mode: Mode = "canary"
    weight: float = Field(default=0.1, gt=0, le=1, description="share of the questions")


class SwitchIn(_MoveIn):
    """Make the candidate the stable release."""


class WithdrawIn(_MoveIn):
    """Serve the stable release alone."""


MOVES: tuple[type[_MoveIn], ...] = (PromoteIn, ApproveIn, RollbackIn, CandidateIn, SwitchIn, WithdrawIn)
