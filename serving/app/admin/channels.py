"""Channels and releases for administrators, by the same steps as the command line."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final

from serving.app.admin.wire import (
    ApproveIn,
    CandidateIn,
    CandidateOut,
    ChangeOut,
    ChannelOut,
    ListedReleaseOut,
    MeasuredOut,
    PromoteIn,
    ReleasesOut,
    RollbackIn,
    SwitchIn,
    WithdrawIn,
)
from serving.app.core.audit import ApiAudit
from serving.app.core.problems import conflict, not_found
from serving.audit.record import Action, Detail
from serving.keys import Caller
from serving.pipeline.errors import DataError, IntegrityError, NotProven, UserError
from serving.release.bundle import Release, load_release, releases
from serving.release.channel import CHANNELS, NEEDS_APPROVAL, UNPROVEN, Channel, ChannelChange, find_channel
from serving.release.move import approve_release, point_channel, promote_candidate, roll_back, set_candidate, withdraw_candidate
from serving.release.proof import newest_proof
from serving.storage.base import Storage
from serving.verdict.read import no_candidate

MOST_METRICS: Final = 8
MoveIn = PromoteIn | ApproveIn | RollbackIn | CandidateIn | SwitchIn | WithdrawIn


class ChannelAdmin:
    """Changes channels, for an administrator who has seen a revision of them."""

    def __init__(self, storage: Storage, served: str, audit: ApiAudit) -> None:
        self._storage = storage
        self._audit = audit
        self._served = served  # the channel of this server

    def all(self, now: datetime | None = None) -> tuple[ChannelOut, ...]:
        """Every channel, also those without a document; one whose document is damaged says so, and hides no other."""
        return tuple(self._listed(name, now or datetime.now(UTC)) for name in CHANNELS)

    def move(self, name: str, asked: MoveIn, action: Action, caller: Caller) -> ChannelOut:
        """Change a channel, unless it has changed since it was looked at."""
        with self._audit.doing(self._audit.act(caller, action, name, _details(asked))) as result, _as_problems():
            expected = self._expected(name, asked.revision)
            moved = self._moved(name, asked, expected, self._audit.who(caller))
            result |= {"from": expected.stable if expected else "", "to": moved.stable, "revision": moved.revision}
            return self._shown(name, moved, datetime.now(UTC))

    def with_candidate(self, name: str) -> Channel:
        """A channel that has a candidate."""
        with _as_problems():
            channel = find_channel(self._storage, name)
        if channel is None or channel.candidate is None:
            raise not_found(no_candidate(name))
        return channel

    def _moved(self, name: str, asked: MoveIn, expected: Channel | None, who: str) -> Channel:
        why = asked.why
        match asked:
            case PromoteIn():
                proof = newest_proof(name, load_release(self._storage, asked.release))
                return point_channel(self._storage, name, asked.release, evidence=proof, expected=expected, who=who, why=why)
            case ApproveIn():
                return approve_release(self._storage, name, asked.release, hours=asked.hours, expected=expected, who=who, why=why)
            case RollbackIn():
                return roll_back(self._storage, name, asked.release or "", expected=_existing(name, expected), who=who, why=why)
            case CandidateIn():
                proof = newest_proof(name, load_release(self._storage, asked.release))
                existing = _existing(name, expected)
                mode, weight = asked.mode, asked.weight
                return set_candidate(
                    self._storage, name, asked.release, evidence=proof, mode=mode, weight=weight, expected=existing, who=who, why=why
                )
            case SwitchIn():
                return promote_candidate(self._storage, name, expected=_existing(name, expected), who=who, why=why)
            case WithdrawIn():
                return withdraw_candidate(self._storage, name, expected=_existing(name, expected), who=who, why=why)

    def _expected(self, name: str, revision: int) -> Channel | None:
        channel = find_channel(self._storage, name)
        now = channel.revision if channel else 0
        if now != revision:
            raise DataError(f"Channel {name!r} is at revision {now}, no longer at {revision}; look again.")
        return channel

    def _listed(self, name: str, now: datetime) -> ChannelOut:
        try:
            return self._shown(name, find_channel(self._storage, name), now)
        except (UserError, IntegrityError) as error:
            return self._shown(name, None, now).model_copy(update={"problem": str(error)})

    def _shown(self, name: str, channel: Channel | None, now: datetime) -> ChannelOut:
        candidate = channel.candidate if channel else None
        approved = dict.fromkeys(change.to for change in channel.history if change.kind == "approval") if channel else {}
        moves = channel.moves if channel else ()
        before = next((move.before for move in reversed(moves) if move.to != move.before), "")
        return ChannelOut(
            name=name,
            served_here=name == self._served,
            needs_approval=name in NEEDS_APPROVAL,
            needs_proof=name not in UNPROVEN,
            stable=channel.stable if channel else "",
            evidence=channel.evidence if channel else "",
            candidate=CandidateOut(release=candidate.release, mode=candidate.mode, weight=candidate.weight) if candidate else None,
            approved=tuple(digest for digest in approved if channel and channel.approval_of(digest, now)),
            rollback_to="" if channel and before == channel.stable else before,
            revision=channel.revision if channel else 0,
            updated_at=channel.updated_at if channel else "",
            history=tuple(_change(one) for one in reversed(channel.history)) if channel else (),
        )


def list_releases(storage: Storage, most: int) -> ReleasesOut:
    """The newest releases, each verified; a damaged one is listed with its problem."""
    digests = releases(storage)
    return ReleasesOut(releases=tuple(_listed(storage, digest) for digest in reversed(digests[-most:])), total=len(digests))


def _listed(storage: Storage, digest: str) -> ListedReleaseOut:
    try:
        release = load_release(storage, digest)
    except (IntegrityError, UserError) as error:
        return ListedReleaseOut(digest=digest, problem=str(error))
    index = release.index
    shown = {"digest": digest, "corpus": index.corpus, "documents": index.documents, "chunks": index.chunks}
    if not release.evidence:
        return ListedReleaseOut(**shown)
    newest = release.evidence[release.newest_evidence]
    measured = newest.measured[-1] if newest.measured else None
    metrics = [
        MeasuredOut(metric=name, mean=one.mean, low=one.low, high=one.high, scored=one.scored)
        for name, one in (measured.metrics.items() if measured else ())
    ]
    return ListedReleaseOut(
        **shown,
        created_at=newest.created_at,
        evidence=len(release.evidence),
        gate=newest.decision.gate if newest.decision else "",
        state=newest.decision.state if newest.decision else "",
        forced=newest.forced is not None,
        measured_on=f"{measured.golden}, {measured.split}: {measured.cases} cases" if measured else "",
        metrics=tuple(metrics[:MOST_METRICS]),
        channels=tuple(name for name in CHANNELS if _accepted(name, release)),
    )


def _accepted(name: str, release: Release) -> bool:
    try:
        return bool(newest_proof(name, release))
    except (DataError, NotProven):
        return False


def _details(asked: MoveIn) -> dict[str, Detail]:
    """What is asked for, as the audit trail has it."""
    return {name: value for name, value in asked.model_dump().items() if value is not None}


def _existing(name: str, channel: Channel | None) -> Channel:
    if channel is None:
        raise DataError(f"Channel {name!r} points at nothing yet.")
    return channel


def _change(change: ChannelChange) -> ChangeOut:
    return ChangeOut(
        at=change.at,
        kind=change.kind,
        before=change.before,
        to=change.to,
        who=change.who,
        why=change.why,
        mode=change.mode,
        weight=change.weight,
        until=change.until,
    )


@contextmanager
def _as_problems() -> Iterator[None]:
    """Turns errors of a change into problems that the caller may read."""
    try:
        yield
    except (UserError, NotProven, IntegrityError) as error:
        raise conflict(str(error)) from error
