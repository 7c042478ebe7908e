"""A promotion, top to bottom: require the proof, write the release, add the evidence, point the channel."""

import hashlib
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from harness.evaluation.factory import PipelineFactory
from harness.gate.decision import DECISION_CODEC
from harness.promotion.candidate import Promotable
from harness.promotion.decisions import PROMOTION, FoundDecision, RequiredGate, proving
from harness.sweep.winner import measured
from serving.pipeline.artefacts import FolderArtefacts, collect_artefacts
from serving.pipeline.errors import ConfigError, DataError, NotProven
from serving.pipeline.models.prices import price_list
from serving.release.bundle import Release, write_release
from serving.release.channel import UNPROVEN, Channel, check_approved, find_channel
from serving.release.evidence import ForcedPromotion, MeasuredSplit, RecordedDecision, ReleaseEvidence, append_evidence, found_worse
from serving.release.move import point_channel
from serving.storage.base import Storage


@dataclass(frozen=True, slots=True)
class Promotion:
    """A release, the evidence added to it, and the channel that points at both now."""

    release: Release
    evidence: ReleaseEvidence
    channel: Channel
    proof: FoundDecision | None = None  # the decision that allowed it; `None`: it was forced
    champions: tuple[Path, ...] = ()  # where it is recorded as what has to be beaten from now on
    unrecorded: str = ""  # why it is not
    registered: str = ""  # where it is in MLflow's registry, or why it is not there


async def promote(
    candidate: Promotable,
    *,
    factory: PipelineFactory,
    storage: Storage,
    channel: str,
    gates: Sequence[RequiredGate],
    decisions: Sequence[FoundDecision],
    forced: ForcedPromotion | None = None,
    who: str,
    git_commit: str,
    now: datetime | None = None,
) -> Promotion:
    """Ship a configuration that one of the gates has passed; refuses, and writes nothing, when that is not proven for it as it is now.

    A release that is killed on the way is not whole, or not pointed at; promoting again goes on where it was left.
    """
    now = now or datetime.now(UTC)
    before = find_channel(storage, channel)  # the channel must not have changed when it is pointed in the end
    _demand_champion(before, channel, gates)
    digest = _unchanged(candidate, factory)
    found = _proof(candidate, digest, channel, gates, decisions, forced, now)
    check_approved(channel, before, digest, now)

    release = candidate.release or await _written(candidate, factory, storage)
    if found and (worse := found_worse(release.evidence, found.decision.decided_at)) and worse.reevaluation:
        said = (
            f"{release.digest} was evaluated again on {worse.reevaluation.channel} at {worse.created_at}, and {worse.reevaluation.message}"
        )
        raise NotProven(f"Not proven for {channel}: since its gate passed, {said}. Hold it against the gate again.")
    prices = price_list(factory.settings)
    evidence = ReleaseEvidence(
        release=release.digest,
        sums_sha256=hashlib.sha256(release.sums).hexdigest(),
        previous=release.newest_evidence,
        corpus=candidate.corpus if candidate.release else factory.corpus.name,
        corpus_digest=release.index.corpus_digest,
        measured=(*candidate.measured, *_measured_by(found)),
        decision=_recorded(found),
        verdict=candidate.verdict,
        mlflow_run=candidate.mlflow_run,
        git_commit=git_commit,
        price_date=prices.as_of.isoformat(),
        prices=prices.label,
        forced=forced,
        who=who,
        created_at=now.isoformat(timespec="seconds"),
    )
    added = append_evidence(storage, evidence)
    why = f"forced: {forced.why}" if forced else f"gate {found.decision.gate} passed" if found else ""
    pointed = point_channel(storage, channel, release.digest, evidence=added, expected=before, who=who, why=why)
    return Promotion(release, evidence, pointed, None if forced else found)


async def _written(candidate: Promotable, factory: PipelineFactory, storage: Storage) -> Release:
    """The release of a configuration, with the index of this machine's documents."""
    artefacts = collect_artefacts(candidate.config, FolderArtefacts(factory.settings.artefact_folder))
    index = await factory.index(candidate.config)
    return write_release(storage, candidate.config, factory.prompts, index.manifest, artefacts=artefacts)


def _demand_champion(before: Channel | None, channel: str, gates: Sequence[RequiredGate]) -> None:
    """Refuse to replace a stable release whose champion is not recorded: without the record the gate would demand less."""
    bare = [gate for gate in gates if gate.gate.needs_champion and not gate.champion_digest]
    if before is not None and before.stable and channel not in UNPROVEN and bare and len(bare) == len(gates):
        where = f"{bare[0].gate.golden} {bare[0].gate.split}"
        what = f"{channel} serves {before.stable}, and no champion is recorded on {where} to hold a successor against"
        raise NotProven(f"{what}. Run: touchstone champion set --release {before.stable}, then the gate again")


def _unchanged(candidate: Promotable, factory: PipelineFactory) -> str:
    """The digest that would ship, when it is the one that was proven; a release ships as it is."""
    if candidate.release:
        return candidate.release.digest
    digest = factory.digest(candidate.config)
    if candidate.config_digest and digest != candidate.config_digest:
        what = "The documents, the prompts or the code behind a plug-in changed since."
        raise DataError(f"What was proven ({candidate.config_digest}) is no longer what would ship ({digest}). {what} Sweep again.")
    return digest


def _proof(
    candidate: Promotable,
    digest: str,
    channel: str,
    gates: Sequence[RequiredGate],
    decisions: Sequence[FoundDecision],
    forced: ForcedPromotion | None,
    now: datetime,
) -> FoundDecision | None:
    """The decision that allows this promotion; `None` only where it is forced."""
    if forced and channel not in UNPROVEN:
        raise ConfigError(f"--force is for the channel {' or '.join(UNPROVEN)}, not {channel!r}. Pass the gate, then promote without it.")
    if forced and not forced.why.strip():
        raise ConfigError('--force needs a reason that the evidence keeps: --why "…"')
    try:
        return proving(digest, gates, decisions, now)
    except NotProven as error:
        if forced:
            return None
        gate = gates[0].file if gates else PROMOTION
        run = shlex.join(["touchstone", "gate", str(gate), *candidate.for_gate])
        raise NotProven(f"Not proven for {channel}: {error}. Run: {run}") from None


def _recorded(found: FoundDecision | None) -> RecordedDecision | None:
    if found is None:
        return None
    plain = DECISION_CODEC.dump(found.decision)
    del plain["changes"]  # questions and answers of single cases: they stay with the gate's own files
    return RecordedDecision.model_validate(plain)


def _measured_by(found: FoundDecision | None) -> list[MeasuredSplit]:
    report = found.evaluation() if found else None
    return [measured(f"gate {found.decision.gate}", report)] if found and report else []
