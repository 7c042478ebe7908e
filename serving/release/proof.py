"""The evidence by which a channel may point at a release that is there."""

from typing import Final

from serving.pipeline.errors import DataError, NotProven
from serving.release.bundle import Release
from serving.release.channel import UNPROVEN, check_proven
from serving.release.evidence import ReleaseEvidence, found_worse

PROVING_GATE: Final = "promotion"  # the gate that proves a release for the channels that serve only what is proven


def newest_proof(name: str, release: Release) -> str:
    """The digest of the newest evidence of a release that a channel accepts."""
    if not release.evidence:
        raise DataError(f"Release {release.digest} has no evidence yet. Run: touchstone promote")
    accepted = [digest for digest, evidence in release.evidence.items() if evidence.reevaluation is None and _accepts(name, evidence)]
    if not accepted:
        reason = f"Channel {name!r} serves what the gate {PROVING_GATE!r} has passed, and no evidence of {release.digest} says so"
        raise NotProven(f"{reason}. Promote it there: touchstone promote FILE --channel {name}")
    if name not in UNPROVEN and (worse := found_worse(release.evidence, release.evidence[accepted[-1]].created_at)):
        reason = f"Release {release.digest} was found worse than when it was promoted, on {worse.created_at}"
        raise NotProven(f"{reason}. Let the gate decide again: touchstone gate")
    return accepted[-1]


def _accepts(name: str, evidence: ReleaseEvidence) -> bool:
    if name in UNPROVEN:
        return True
    try:
        check_proven(name, evidence)
    except NotProven:
        return False
    return evidence.decision is not None and evidence.decision.gate == PROVING_GATE
