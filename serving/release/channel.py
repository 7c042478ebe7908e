"""Channels: which release an environment serves, and the evidence for it.

releases/channels/<name>.json
"""

from datetime import UTC, datetime

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from serving.pipeline.errors import DataError, IntegrityError, NotProven
from serving.pipeline.registry import explain, near
from serving.release.bundle import load_release
from serving.release.evidence import ReleaseEvidence
from serving.storage.base import Storage

CHANNELS = ("dev", "staging", "prod")
UNPROVEN = ("dev",)  # channels that may serve what no gate has passed


class ChannelChange(BaseModel):
    """One change of a channel."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_by_name=True, serialize_by_alias=True)

    at: str
    before: str = Field(alias="from")  # the release it pointed at; "" for the first
    to: str
    evidence: str  # digest of the document that proves `to`
    who: str
    why: str


class Channel(BaseModel):
    """A pointer to the release that an environment serves, and to its evidence."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    stable: str
    evidence: str
    revision: int = 1
    updated_at: str = ""
    history: tuple[ChannelChange, ...] = ()  # every change, the oldest first; append-only

    @property
    def words(self) -> str:
        """Where it points, in a few words."""
        return f"{self.stable} (revision {self.revision})"


def find_channel(storage: Storage, name: str) -> Channel | None:
    """What a channel points at; `None` while it points at nothing."""
    blob = storage.get(_key(name))
    return _parsed(blob.data, storage, name) if blob else None


def read_channel(storage: Storage, name: str) -> Channel:
    """What a channel points at."""
    channel = find_channel(storage, name)
    if channel is None:
        raise DataError(f"Channel {name!r} points at nothing yet. Run: touchstone promote --channel {name}")
    return channel


def point_channel(storage: Storage, name: str, digest: str, *, evidence: str, expected: Channel | None, who: str, why: str) -> Channel:
    """Point a channel at a release by its evidence, if the channel still is `expected` (`None`: it does not exist)."""
    key = _key(name)
    check_proven(name, load_release(storage, digest, evidence=evidence).evidence[evidence])
    blob = storage.get(key)
    before = _parsed(blob.data, storage, name) if blob else None
    if before != expected:
        raise _conflict(name, before, expected)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    change = ChannelChange(at=now, before=before.stable if before else "", to=digest, evidence=evidence, who=who, why=why)
    after = Channel(
        name=name,
        stable=digest,
        evidence=evidence,
        revision=before.revision + 1 if before else 1,
        updated_at=now,
        history=(*before.history, change) if before else (change,),
    )
    if storage.put_if(key, after.model_dump_json(indent=2).encode(), expected=blob.version if blob else None) is None:
        raise _conflict(name, find_channel(storage, name), expected)
    return after


def check_proven(name: str, evidence: ReleaseEvidence) -> None:
    """Refuse evidence without a passed gate's decision where a channel serves only what is proven."""
    if name in UNPROVEN:
        return
    state = evidence.decision.state if evidence.decision else ""
    if state != "pass" or evidence.forced:
        said = "was forced" if evidence.forced else f"has a decision that says {state}" if state else "has no decision"
        rule = f"Channel {name!r} serves what a gate has passed"
        raise NotProven(f"{rule}, and the evidence of {evidence.release} {said}. Pass the gate, then promote.")


def check_not_replayed(now: Channel, seen: Channel) -> None:
    """Refuse the document that a channel had before the one seen last: going back is a move of its own."""
    count = len(now.history)
    if count < len(seen.history) and now.history == seen.history[:count]:
        said = f"Channel {now.name!r} is at revision {now.revision} again after revision {seen.revision}"
        raise IntegrityError(f"{said}: an old document was put in its place. To go back, promote the earlier release.")


def _conflict(name: str, now: Channel | None, expected: Channel | None) -> DataError:
    current, previous = (channel.words if channel else "nothing" for channel in (now, expected))
    return DataError(f"Channel {name!r} points at {current}, no longer at {previous}; look again.")


def _parsed(data: bytes, storage: Storage, name: str) -> Channel:
    where = f"{storage.place}/{_key(name)}"
    try:
        channel = Channel.model_validate_json(data)
    except ValidationError as error:
        message = explain(error, f"{where} is not a channel", list(Channel.model_fields))
        raise IntegrityError(f"{message} Was it made by another version of the code? Remove it and promote again.") from None
    if problem := _contradiction(channel, name):
        raise IntegrityError(f"{where} {problem}; it was edited by hand. Put the last good one back, or remove it and promote again.")
    return channel


def _contradiction(channel: Channel, name: str) -> str:
    """What a channel's document says that its name or its history does not; empty when they agree."""
    if channel.name != name:
        return f"is the channel {channel.name!r}"
    places = ["", *(move.to for move in channel.history)]
    if [move.before for move in channel.history] != places[:-1] or channel.revision != len(channel.history):
        return f"has {len(channel.history)} moves that do not lead to revision {channel.revision}"
    last = channel.history[-1] if channel.history else None
    if last is None or (last.to, last.evidence) != (channel.stable, channel.evidence):
        return f"points at {channel.stable} by {channel.evidence}, which its last move does not"
    return ""


def check_channel(name: str) -> None:
    """A `DataError` with those that there are where a name is none of a channel."""
    if name not in CHANNELS:
        raise DataError(f"No channel {name!r}.{near(name, list(CHANNELS))} Known: {', '.join(CHANNELS)}.")


def _key(name: str) -> str:
    check_channel(name)
    return f"channels/{name}.json"
