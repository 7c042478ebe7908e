"""Reads a channel's trial from its traces: those since the candidate was set, the oldest first, so that what is read never changes."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from serving.pipeline.errors import DataError
from serving.release.channel import Channel, Mode
from serving.traces.base import TraceStore
from serving.traces.record import Feedback, TraceQuery
from serving.traces.summary import TraceSummary
from serving.verdict.callers import CallerLedger
from serving.verdict.decide import CandidateVerdict, decide
from serving.verdict.rules import MEASURED, MeasureName, VerdictRules

MOST_TRACES: Final = 20_000
MOST_COMPLAINTS: Final = 5_000  # of one tenant
PAGE: Final = 2_000


def no_candidate(name: str) -> str:
    """That there is nothing to judge, and the mend."""
    return f"Channel {name!r} has no candidate to judge. Try one: touchstone channel set {name} --candidate RELEASE --mode canary"


@dataclass(frozen=True, slots=True)
class CandidateTrial:
    """A candidate that is tried beside the stable release, in one way."""

    channel: str
    stable: str
    release: str
    mode: Mode
    weight: float
    since: str  # when it began to be tried in this way; a change of the weight alone begins nothing anew

    @classmethod
    def of(cls, channel: Channel) -> "CandidateTrial":
        """The trial that a channel names."""
        candidate = channel.candidate
        if candidate is None:
            raise DataError(no_candidate(channel.name))
        since = ""
        for change in reversed(channel.history):
            if change.kind == "approval":
                continue
            if change.kind != "candidate" or (change.to, change.mode) != (candidate.release, candidate.mode):
                break
            since = change.at
        return cls(channel.name, channel.stable, candidate.release, candidate.mode, candidate.weight, since)


@dataclass(frozen=True, slots=True)
class TrialVerdict:
    """A verdict, and what it was read from."""

    trial: CandidateTrial
    rules: VerdictRules
    until: float  # what ended later was not read
    traces: int
    complete: bool  # False: there are more traces than are read
    found: CandidateVerdict


@dataclass(frozen=True, slots=True)
class _Reading:
    traces: int
    complete: bool


def read_verdict(channel: Channel, store: TraceStore, rules: VerdictRules, *, now: float, retention_s: float = 0.0) -> TrialVerdict:
    """The verdict on a channel's candidate. Calls block, and belong in a thread."""
    trial = CandidateTrial.of(channel)
    since = datetime.fromisoformat(trial.since).timestamp()
    ledger = CallerLedger(trial.release, trial.mode, rules)
    notes: list[str] = []
    if retention_s and since < now - retention_s:
        notes.append("The first traces of the trial are removed by now, and callers of then count as new: set the candidate anew.")
    read = _read(store, ledger, since, now) if MEASURED[trial.mode] else _Reading(0, complete=True)
    until = now if read.complete else ledger.last
    if not read.complete:
        notes.append(f"The first {read.traces:,} traces of the trial are read, and none later: set the candidate anew to begin anew.")
    feedback = _feedback(store, ledger.tenants(), since, notes)
    if waiting := ledger.waiting(until):
        notes.append(f"{waiting:,} callers are within their turn of {rules.turn_s / 60:g} minutes, and count when it is over.")
    unread: tuple[MeasureName, ...] = ("complaints",) if feedback is None else ()
    found = decide(ledger.callers(until, feedback), trial.mode, rules, weight=trial.weight, notes=notes, unread=unread)
    return TrialVerdict(trial, rules, until, read.traces, read.complete, found)


def _read(store: TraceStore, ledger: CallerLedger, since: float, until: float) -> _Reading:
    """Counts traces page by page."""
    count, at, seen = 0, since, frozenset[str]()
    while True:
        page = store.summaries(TraceQuery(since=at, before=until, limit=PAGE + len(seen), oldest_first=True, failed=True))
        fresh = [one for one in page if one.id not in seen]
        kept = fresh[: MOST_TRACES - count]
        ledger.add(kept)
        count += len(kept)
        if len(kept) < len(fresh):
            return _Reading(count, complete=False)
        if len(page) < PAGE + len(seen):
            return _Reading(count, complete=True)
        at, seen = page[-1].at, _at_the_end(page)


def _at_the_end(page: list[TraceSummary]) -> frozenset[str]:
    """The traces of the last moment of a page, with which the next page begins."""
    return frozenset(one.id for one in page if one.at == page[-1].at)


def _feedback(store: TraceStore, tenants: list[str], since: float, notes: list[str]) -> list[Feedback] | None:
    """Complaints of the answers; None where there are too many to read."""
    found: list[Feedback] = []
    for tenant in tenants:
        some = store.recent_feedback(tenant, since, MOST_COMPLAINTS, complaints=True)
        if len(some) == MOST_COMPLAINTS:
            notes.append(f"Tenant {tenant!r} has complained {MOST_COMPLAINTS:,} times or more, which are too many to be read here.")
            return None
        found += some
    return found
