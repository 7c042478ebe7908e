"""Changes of a channel: each a compare-and-swap that adds a line to its history.

A change names the revision it expects; of two concurrent changes one is written, and the other fails with a conflict.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

from serving.pipeline.errors import ConfigError, DataError
from serving.release.bundle import load_release
from serving.release.channel import (
    NEEDS_APPROVAL,
    Channel,
    ChannelChange,
    Mode,
    candidate_of,
    channel_key,
    check_approved,
    check_proven,
    find_channel,
    parse_channel,
)
from serving.storage.base import Storage

LONGEST_APPROVAL = timedelta(days=90)
WEIGHTLESS: tuple[Mode, ...] = ("blue-green",)  # prepared beside the stable release, and asked nothing


def point_channel(storage: Storage, name: str, digest: str, *, evidence: str, expected: Channel | None, who: str, why: str) -> Channel:
    """Point a channel at a release by its evidence, if the channel still is `expected` (`None`: it does not exist)."""
    documents = load_release(storage, digest, evidence=evidence).evidence
    check_proven(name, documents[evidence])
    check_approved(name, expected, digest, evidence=documents)
    return _changed(storage, name, expected, to=digest, evidence=evidence, who=who, why=why)


def set_candidate(
    storage: Storage, name: str, digest: str, *, evidence: str, mode: Mode, weight: float, expected: Channel, who: str, why: str
) -> Channel:
    """Try a release beside the stable one; it has to be as proven, and approved, as if it were to replace it."""
    if not 0.0 < weight <= 1.0:
        raise ConfigError(f"A candidate's weight is a share above 0 and at most 1, not {weight!r}.")
    if not expected.stable:
        raise DataError(f"Channel {name!r} points at nothing yet: there is nothing to try a candidate beside. Promote to it first.")
    if digest == expected.stable:
        raise ConfigError(f"{digest} is what channel {name!r} points at already; a candidate is another release.")
    documents = load_release(storage, digest, evidence=evidence).evidence
    check_proven(name, documents[evidence])
    check_approved(name, expected, digest, evidence=documents)
    share = 0.0 if mode in WEIGHTLESS else weight
    return _changed(storage, name, expected, to=digest, evidence=evidence, who=who, why=why, kind="candidate", mode=mode, weight=share)


def withdraw_candidate(storage: Storage, name: str, *, expected: Channel, who: str, why: str) -> Channel:
    """Serve the stable release alone."""
    if expected.candidate is None:
        raise DataError(f"Channel {name!r} has no candidate. See: touchstone channel show {name}")
    return _changed(storage, name, expected, to="", evidence="", who=who, why=why, kind="withdrawal")


def promote_candidate(storage: Storage, name: str, *, expected: Channel, who: str, why: str) -> Channel:
    """Make the candidate the stable release."""
    if expected.candidate is None:
        raise DataError(f"Channel {name!r} has no candidate. See: touchstone channel show {name}")
    candidate = expected.candidate
    return point_channel(storage, name, candidate.release, evidence=candidate.evidence, expected=expected, who=who, why=why)


def approve_release(
    storage: Storage, name: str, digest: str, *, hours: float, expected: Channel | None, who: str, why: str, now: datetime | None = None
) -> Channel:
    """Let a release be served on a channel that needs an approval, by the evidence that there is, for so many hours from now."""
    if name not in NEEDS_APPROVAL:
        raise ConfigError(f"Channel {name!r} needs no approval; only {', '.join(NEEDS_APPROVAL)} does.")
    if not why.strip():
        raise ConfigError('An approval needs a reason that the history keeps: --why "…"')
    if not timedelta() < (lasting := timedelta(hours=hours)) <= LONGEST_APPROVAL:
        raise ConfigError(f"An approval lasts from above 0 to {LONGEST_APPROVAL // timedelta(hours=1)} hours, not {hours:g}.")
    evidence = load_release(storage, digest).newest_evidence
    if not evidence:
        raise DataError(f"Release {digest} has no evidence that it could be approved by. Run: touchstone promote")
    until = ((now or datetime.now(UTC)) + lasting).isoformat(timespec="seconds")
    return _changed(storage, name, expected, to=digest, evidence=evidence, who=who, why=why, kind="approval", until=until)


def roll_back(storage: Storage, name: str, digest: str = "", *, expected: Channel, who: str, why: str) -> Channel:
    """Point a channel at what it pointed at before its last move, or at another release that it has served, by the evidence of then."""
    served = {move.to: move.evidence for move in expected.moves}
    target = digest or next((move.before for move in reversed(expected.moves) if move.to != move.before), "")
    if not target:
        raise DataError(f"Channel {name!r} has served nothing before {expected.stable}.")
    if target not in served:
        raise DataError(f"Channel {name!r} has never served {target}. It has served: {', '.join(served)}. Promote it instead.")
    if target == expected.stable:
        raise DataError(f"Channel {name!r} points at {target} already.")
    return point_channel(storage, name, target, evidence=served[target], expected=expected, who=who, why=why)


def _changed(storage: Storage, name: str, expected: Channel | None, **change: Any) -> Channel:
    """The channel with one change more; a `DataError` where it is not what was expected."""
    key = channel_key(name)
    blob = storage.get(key)
    before = parse_channel(blob.data, storage, name) if blob else None
    if before != expected:
        raise _conflict(name, before, expected)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    added = ChannelChange.model_validate({"at": now, "from": before.stable if before else "", **change})
    history = (*before.history, added) if before else (added,)
    stable = (added.to, added.evidence) if added.kind == "stable" else (before.stable, before.evidence) if before else ("", "")
    after = Channel(
        name=name,
        stable=stable[0],
        evidence=stable[1],
        candidate=candidate_of(history),
        revision=len(history),
        updated_at=now,
        history=history,
    )
    if storage.put_if(key, after.model_dump_json(indent=2).encode(), expected=blob.version if blob else None) is None:
        raise _conflict(name, find_channel(storage, name), expected)
    return after


def _conflict(name: str, now: Channel | None, expected: Channel | None) -> DataError:
    current, previous = (channel.words if channel else "nothing" for channel in (now, expected))
    return DataError(f"Channel {name!r} points at {current}, no longer at {previous}; look again.")
