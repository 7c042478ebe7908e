"""Verifies stored releases: every sum, every evidence document, and what every channel points at."""

from dataclasses import dataclass

from serving.pipeline.errors import IntegrityError, UserError
from serving.release.bundle import load_release, releases
from serving.release.channel import CHANNELS, find_channel
from serving.storage.base import Storage


@dataclass(frozen=True, slots=True)
class ReleaseCheck:
    """The verification result of a release, or of what a channel points at."""

    checked: str
    evidence: int  # verified documents
    problem: str  # empty: verified


def check_releases(storage: Storage, digest: str = "") -> list[ReleaseCheck]:
    """Check one release; or every one, and every channel."""
    if digest:
        return [_check(storage, digest, digest)]
    checks = [_check(storage, release, release) for release in releases(storage)]
    for name in CHANNELS:
        try:
            channel = find_channel(storage, name)
        except IntegrityError as error:
            checks.append(ReleaseCheck(f"channel {name}", 0, str(error)))
            continue
        if channel and channel.stable:
            checks.append(_check(storage, f"channel {name}", channel.stable, channel.evidence))
        if channel and channel.candidate:
            checks.append(_check(storage, f"candidate of {name}", channel.candidate.release, channel.candidate.evidence))
    return checks


def _check(storage: Storage, checked: str, digest: str, evidence: str | None = None) -> ReleaseCheck:
    try:
        return ReleaseCheck(checked, len(load_release(storage, digest, evidence=evidence).evidence), "")
    except (IntegrityError, UserError) as error:  # an unreachable storage is raised: it says nothing of its content
        return ReleaseCheck(checked, 0, str(error))
