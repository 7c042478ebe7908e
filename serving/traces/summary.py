"""What is counted of a trace: times, money, decisions; nothing of what was asked, read or said."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from serving.pipeline.types import Draw
from serving.traces.record import TraceRecord

ALLOWED = "allow"


@dataclass(frozen=True, slots=True)
class CountedStage:
    """One stage of a query and its time."""

    stage: str
    milliseconds: float


@dataclass(frozen=True, slots=True)
class CountedUsage:
    """What calls to one model cost a query."""

    model: str
    input_tokens: int
    output_tokens: int
    usd: float
    simulated: bool
    priced: bool = True  # False: `usd` is not the whole cost


@dataclass(frozen=True, slots=True)
class GuardIncident:
    """What a check did other than allow."""

    side: str
    check: str
    rule: str
    action: str


@dataclass(frozen=True, slots=True)
class TraceSummary:
    """A trace as it is counted."""

    id: str
    at: float
    release: str
    role: str
    milliseconds: float
    first_token_ms: float | None
    refused: bool
    confidence: float | None
    model: str
    tier: str  # "": no model was needed
    cache: str  # exact | semantic | shared; "": the answer was written for this question
    stages: tuple[CountedStage, ...] = ()
    usage: tuple[CountedUsage, ...] = ()
    incidents: tuple[GuardIncident, ...] = ()
    degraded: bool = False
    tenant: str = ""
    pair: str = ""  # of a shadow: the trace of the answer that was shown
    disagreement: str | None = None  # of a shadow; empty: both agree; None: not compared
    draw: Draw | None = None  # None: there was no candidate to draw

    @property
    def priced(self) -> bool:
        """Whether all that it cost is known."""
        return all(usage.priced for usage in self.usage)

    @property
    def usd(self) -> float:
        """What the query cost."""
        return sum(usage.usd for usage in self.usage)

    @classmethod
    def of(cls, record: TraceRecord) -> "TraceSummary":
        """What is counted of a record, of whose trace only some parts are needed; what has its default may be missing or null."""
        parts = record.trace
        answer, route, cache = (parts.get(name) or {} for name in ("answer", "route", "cache"))
        draw = parts.get("draw")
        return cls(
            id=record.id,
            at=record.at,
            release=record.release,
            role=record.role,
            tenant=record.tenant,
            pair=record.pair,
            disagreement=parts.get("disagreement"),
            draw=Draw(draw["candidate"], draw["mode"], draw["share"], draw["weight"]) if draw else None,
            milliseconds=parts.get("milliseconds") or 0.0,
            first_token_ms=parts.get("first_token_ms"),
            refused=bool(answer.get("refused")),
            degraded=bool(answer.get("degraded")),
            confidence=answer.get("confidence"),
            model=answer.get("model") or "",
            tier=route.get("tier") or "",
            cache=(cache.get("kind") or "exact") if cache.get("hit") else "",
            stages=tuple(CountedStage(one["stage"], one["milliseconds"]) for one in parts.get("stages") or ()),
            usage=tuple(_usage(one) for one in parts.get("usage") or ()),
            incidents=tuple(_incident(one) for one in parts.get("guard") or () if one["action"] != ALLOWED),
        )


def _usage(plain: Mapping[str, Any]) -> CountedUsage:
    return CountedUsage(
        model=plain["model"],
        input_tokens=plain.get("input_tokens") or 0,
        output_tokens=plain.get("output_tokens") or 0,
        usd=plain.get("usd") or 0.0,
        simulated=bool(plain.get("simulated")),
        priced=plain.get("priced", True) is not False,
    )


def _incident(plain: Mapping[str, Any]) -> GuardIncident:
    return GuardIncident(plain["side"], plain.get("check") or "", plain.get("rule") or "", plain["action"])
