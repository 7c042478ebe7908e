"""Traces of a trial, as a server would have kept them."""

import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from serving.pipeline.types import Draw
from serving.traces.summary import CountedUsage, GuardIncident, TraceSummary
from serving.verdict.bounds import STAKES, Numbers, Observations
from serving.verdict.callers import CallerLedger, DrawnCaller
from serving.verdict.rules import VerdictRules

NEW, OLD = "candidate", "stable"
START = 1_000_000.0
TURN_S = 600.0


def a_question(at: float, share: float, weight: float = 0.5, mode: str = "canary", **changes: Any) -> TraceSummary:
    """A question of whoever stands at this share."""
    role = changes.pop("role", "canary" if mode == "canary" and share < weight else "stable")
    ident = hashlib.sha256(repr((at, share, role, sorted(changes))).encode()).hexdigest()[:16]
    values: dict[str, Any] = {
        "id": ident,
        "at": at,
        "release": NEW if share < weight else OLD,
        "role": role,
        "milliseconds": 100.0,
        "first_token_ms": None,
        "refused": False,
        "confidence": None,
        "model": "m",
        "tier": "lite",
        "cache": "",
        "tenant": "acme",
        "draw": Draw(NEW, mode, share, weight),
    }
    return TraceSummary(**(values | changes))


def costing(usd: float, *, priced: bool = True) -> tuple[CountedUsage, ...]:
    return (CountedUsage("m", 1, 1, usd, simulated=False, priced=priced),)


INCIDENT = (GuardIncident("output", "pii", "email", "mask"),)


def traffic(
    rng: np.random.Generator, count: int, met: Callable[[bool], dict[str, Any]], *, weight: float = 0.5, questions: int = 1
) -> Iterator[TraceSummary]:
    """Callers one a second, each with questions alike, since `met` is asked once a caller."""
    for number in range(count):
        share = float(rng.random())
        changes = met(share < weight)
        for turn in range(questions):
            yield a_question(START + number + turn / 100, share, weight, **changes)


def callers(traces: Iterator[TraceSummary], rules: VerdictRules | None = None, mode: Any = "canary") -> list[DrawnCaller]:
    """Every caller of some traces, when all turns are over."""
    found = rules or VerdictRules()
    ledger = CallerLedger(NEW, mode, found)
    ledger.add(traces)
    return ledger.callers(START + 1e9, [])


def path(seen: Observations, mean: float) -> Numbers:
    """The logarithm of the wealth after every observation, of a bet on a mean above this one."""
    grown = np.cumsum(np.log1p(np.outer(STAKES, (seen.values - mean) / (mean - seen.least))), axis=1)
    most = grown.max(axis=0)
    found: Numbers = most + np.log(np.mean(np.exp(grown - most), axis=0))
    return found
