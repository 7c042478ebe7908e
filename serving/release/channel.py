"""Channels: which release an environment serves, and the evidence for it.

releases/channels/<name>.json
"""

from collections.abc import Collection
from datetime import UTC, datetime
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from serving.pipeline.errors import DataError, IntegrityError, NotProven
from serving.pipeline.registry import explain, near
from serving.release.evidence import ReleaseEvidence
from serving.storage.base import Storage

CHANNELS = ("dev", "staging", "prod")
UNPROVEN = ("dev",)  # channels that may serve what no gate has passed
NEEDS_APPROVAL = ("prod",)  # channels that serve only what somebody has approved

Mode = Literal["canary", "blue-green", "shadow", "interleave"]
MODES: tuple[Mode, ...] = get_args(Mode)
Kind = Literal["stable", "candidate", "withdrawal", "approval"]


class ChannelChange(BaseModel):
    """One change of a channel."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_by_name=True, serialize_by_alias=True)

    at: str
    before: str = Field(alias="from")  # the release it pointed at; "" for the first
    to: str
    evidence: str  # digest of the document that proves `to`; of an approval, the newest that there was; "": before approvals named one
    who: str
    why: str
    kind: Kind = "stable"
    mode: Mode | None = None  # of a candidate
    weight: float | None = None
    until: str = ""  # of an approval


class CandidateRelease(BaseModel):
    """A release that is tried beside the stable one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    release: str
    evidence: str
    mode: Mode
    weight: float = Field(ge=0.0, le=1.0)  # share of questions: answered by it (canary), or asked of it as well (shadow, interleave)


class Channel(BaseModel):
    """A pointer to the release that an environment serves, and to its evidence."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    stable: str  # "": nothing yet, though a release may be approved for it
    evidence: str
    candidate: CandidateRelease | None = None
    revision: int = 1
    updated_at: str = ""
    history: tuple[ChannelChange, ...] = ()  # every change, the oldest first; append-only

    @property
    def words(self) -> str:
        """What it points at, in a few words."""
        return f"{self.stable or 'nothing'} (revision {self.revision})"

    @property
    def moves(self) -> tuple[ChannelChange, ...]:
        """The changes of what is stable."""
        return tuple(change for change in self.history if change.kind == "stable")

    def approval_of(self, release: str, now: datetime) -> ChannelChange | None:
        """The newest approval of a release, if it still holds."""
        approval = self.newest_approval(release)
        return approval if approval and datetime.fromisoformat(approval.until) > now else None

    def newest_approval(self, release: str) -> ChannelChange | None:
        """The newest approval of a release, lapsed or not."""
        return next((change for change in reversed(self.history) if change.kind == "approval" and change.to == release), None)


def find_channel(storage: Storage, name: str) -> Channel | None:
    """A channel's document; `None` while there is none."""
    blob = storage.get(channel_key(name))
    return parse_channel(blob.data, storage, name) if blob else None


def read_channel(storage: Storage, name: str) -> Channel:
    """What a channel points at."""
    channel = find_channel(storage, name)
    if channel is None or not channel.stable:
        raise DataError(f"Channel {name!r} points at nothing yet. Run: touchstone promote --channel {name}")
    return channel


def check_proven(name: str, evidence: ReleaseEvidence) -> None:
    """Refuse evidence without a passed gate's decision where a channel serves only what is proven."""
    if name in UNPROVEN:
        return
    state = evidence.decision.state if evidence.decision else ""
    if state != "pass" or evidence.forced:
        reason = "was forced" if evidence.forced else f"has a decision that says {state}" if state else "has no decision"
        rule = f"Channel {name!r} serves what a gate has passed"
        raise NotProven(f"{rule}, and the evidence of {evidence.release} {reason}. Pass the gate, then promote.")


def check_approved(
    name: str, channel: Channel | None, release: str, now: datetime | None = None, *, evidence: Collection[str] | None = None
) -> None:
    """Refuse a release that nobody has approved where a channel needs that; what it has served before needs no second approval.

    `evidence` is what it would be served by, with its predecessors: what was approved has to be among them.
    """
    if name not in NEEDS_APPROVAL or (channel and release in [move.to for move in channel.moves]):
        return
    run = f'touchstone channel approve {name} {release} --why "…"'
    approval = channel.approval_of(release, now or datetime.now(UTC)) if channel else None
    if approval is None:
        lapsed = channel.newest_approval(release) if channel else None
        why = f"that of {lapsed.who} lapsed at {lapsed.until}" if lapsed else f"no approval of {release} holds"
        reason = f"Channel {name!r} serves what somebody has approved, and {why}"
        raise NotProven(f"{reason}. Promote it to staging first, if it is nowhere yet, then run: {run}")
    if approval.evidence and evidence is not None and approval.evidence not in evidence:
        reason = f"{approval.who} approved {release} by the evidence {approval.evidence}, which it would not be served by"
        raise NotProven(f"{reason}. Look at it again, then run: {run}")


def check_not_replayed(now: Channel, seen: Channel) -> None:
    """Refuse the document that a channel had before the one seen last: going back is a move of its own."""
    count = len(now.history)
    if count < len(seen.history) and now.history == seen.history[:count]:
        reason = f"Channel {now.name!r} is at revision {now.revision} again after revision {seen.revision}"
        raise IntegrityError(f"{reason}: an old document was put in its place. To go back: touchstone release rollback")


def check_channel(name: str) -> None:
    """A `DataError` with those that there are where a name is none of a channel."""
    if name not in CHANNELS:
        raise DataError(f"No channel {name!r}.{near(name, list(CHANNELS))} Known: {', '.join(CHANNELS)}.")


def channel_key(name: str) -> str:
    """Where a channel's document lies."""
    check_channel(name)
    return f"channels/{name}.json"


def parse_channel(data: bytes, storage: Storage, name: str) -> Channel:
    """A channel's document, refused where it contradicts itself."""
    where = f"{storage.place}/{channel_key(name)}"
    try:
        channel = Channel.model_validate_json(data)
    except ValidationError as error:
        message = explain(error, f"{where} is not a channel", list(Channel.model_fields))
        raise IntegrityError(f"{message} Was it made by another version of the code? Remove it and promote again.") from None
    if problem := _contradiction(channel, name):
        raise IntegrityError(f"{where} {problem}; it was edited by hand. Put the last good one back, or remove it and promote again.")
    return channel


def _contradiction(channel: Channel, name: str) -> str:
    """A contradiction between a channel's document and its name or history; empty when they agree."""
    if channel.name != name:
        return f"is the channel {channel.name!r}"
    moves = channel.moves
    places = ["", *(move.to for move in moves)]
    if [move.before for move in moves] != places[:-1] or channel.revision != len(channel.history):
        return f"has {len(channel.history)} moves that do not lead to revision {channel.revision}"
    last = moves[-1] if moves else None
    if (last.to, last.evidence) != (channel.stable, channel.evidence) if last else bool(channel.stable or channel.evidence):
        return f"points at {channel.stable} by {channel.evidence}, which its last move does not"
    if channel.candidate != candidate_of(channel.history):
        return f"has the candidate {channel.candidate.release if channel.candidate else 'none'}, which its history does not"
    return ""


def candidate_of(history: tuple[ChannelChange, ...]) -> CandidateRelease | None:
    """The candidate that a history leads to: a change of what is stable ends it, as a withdrawal does."""
    for change in reversed(history):
        if change.kind in ("stable", "withdrawal"):
            return None
        if change.kind == "candidate" and change.mode is not None and change.weight is not None:
            return CandidateRelease(release=change.to, evidence=change.evidence, mode=change.mode, weight=change.weight)
    return None
