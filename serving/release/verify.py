"""Checks anew what is kept: every sum, every evidence document, and what every channel names."""

from dataclasses import dataclass

from serving.pipeline.errors import IntegrityError, UserError
from serving.release.bundle import load_release, releases
from serving.release.channel import CHANNELS, find_channel
from serving.storage.base import Storage


@dataclass(frozen=True, slots=True)
class ReleaseCheck:
    """What was found of a release, or of what a channel names."""

    checked: str
    evidence: int  # documents that hold
    problem: str  # empty: everything holds


def check_releases(storage: Storage, digest: str = "") -> list[ReleaseCheck]:
    """Check one release; or every one, and every channel."""
    if digest:
        return [_check(storage, digest, digest)]
    found = [_check(storage, one, one) for one in releases(storage)]
    for name in CHANNELS:
        try:
            channel = find_channel(storage, name)
        except IntegrityError as error:
            found.append(ReleaseCheck(f"channel {name}", 0, str(error)))
            continue
        if channel:
            found.append(_check(storage, f"channel {name}", channel.stable, channel.evidence))
    return found


def _check(storage: Storage, what: str, digest: str, evidence: str | None = None) -> ReleaseCheck:
    try:
        return ReleaseCheck(what, len(load_release(storage, digest, evidence=evidence).evidence), "")
    except (IntegrityError, UserError) as error:  # a storage out of reach says nothing of what is in it
        return ReleaseCheck(what, 0, str(error))
