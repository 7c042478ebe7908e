"""Which release answers a question while a candidate is tried beside the stable one."""

import hashlib
from dataclasses import dataclass, replace
from typing import Literal

from serving.app.core.span_ids import TRACEPARENT_FORM
from serving.app.core.telemetry import TRACEPARENT
from serving.app.release.loaded import LoadedRelease
from serving.pipeline.observer import Observer
from serving.pipeline.types import Draw, Query, StageRecord, Trace, Usage
from serving.release.channel import CandidateRelease

Role = Literal["stable", "canary", "shadow", "interleave"]


@dataclass(frozen=True, slots=True)
class LoadedCandidate:
    """A candidate in memory, tried as its channel says."""

    loaded: LoadedRelease
    trial: CandidateRelease
    mixed: LoadedRelease | None = None  # the stable release with passages of both, where they are interleaved


@dataclass(frozen=True, slots=True)
class Assignment:
    """The release that answers a question, and in which role."""

    loaded: LoadedRelease
    role: Role = "stable"
    draw: Draw | None = None  # None: there was no candidate to draw


def assign(stable: LoadedRelease, candidate: LoadedCandidate | None, key: str) -> Assignment:
    """The release for the holder of this key: the same for every question, and stable while the weight grows."""
    if candidate is None or candidate.trial.mode == "blue-green":
        return Assignment(stable)
    draw = drawn(candidate.trial, key)
    if candidate.trial.mode in ("canary", "interleave") and chosen(candidate.trial, key):
        return Assignment(candidate.mixed, "interleave", draw) if candidate.mixed else Assignment(candidate.loaded, "canary", draw)
    return Assignment(stable, draw=draw)


def drawn(trial: CandidateRelease, key: str) -> Draw:
    """What a trace keeps of how a key was drawn."""
    return Draw(trial.release, trial.mode, share_of(key, trial.release), trial.weight)


def chosen(trial: CandidateRelease, key: str) -> bool:
    """Whether a key belongs to the candidate's share."""
    return share_of(key, trial.release) < trial.weight


def share_of(key: str, release: str) -> float:
    """A number between 0 and 1 for a key, uniform and different for every candidate; the key cannot be inferred from it."""
    digest = hashlib.sha256(f"{release}\0{key}".encode("utf-8", "replace")).digest()
    return int.from_bytes(digest[:7]) / 2**56


class RoleObserver:
    """Passes the events of a query on to an observer, its trace with the role in which it was answered."""

    def __init__(self, inner: Observer, role: Role, pair: str = "", draw: Draw | None = None) -> None:
        self._inner = inner
        self._role = role
        self._pair = pair
        self._draw = draw

    def stage_started(self, query: Query, stage: str) -> None:
        """Passed on as it is."""
        self._inner.stage_started(query, stage)

    def stage_finished(self, query: Query, record: StageRecord) -> None:
        """Passed on as it is."""
        self._inner.stage_finished(query, record)

    def answered(self, trace: Trace) -> None:
        """With the role, and for a shadow with the trace that its caller was shown."""
        self._inner.answered(self.marked(trace))

    def failed(self, query: Query, error: BaseException) -> None:
        """Passed on; not of a shadow, whose failure nobody was shown: who asks it counts that."""
        if self._role != "shadow":
            self._inner.failed(query, error)

    def spent(self, query: Query, usage: Usage) -> None:
        """Passed on as it is."""
        self._inner.spent(query, usage)

    def marked(self, trace: Trace) -> Trace:
        """A trace with its role, how that was drawn, and the caller's trace that it is a part of."""
        traceparent = TRACEPARENT.get()
        caller = traceparent if TRACEPARENT_FORM.fullmatch(traceparent) else ""
        return replace(trace, role=self._role, pair=self._pair, draw=self._draw, caller=caller)
