"""`touchstone channel evaluate`: what a channel serves, evaluated again on the questions of its gate, kept as a report and as evidence."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from harness.comparison.compare import compare_reports
from harness.comparison.values import ReportComparison
from harness.gate.champion import champion_path
from harness.gate.gate import Gate, check_gate, load_gate
from harness.git_commit import ROOT, commit
from harness.golden.load import load_golden
from harness.project.contexts import ContextChoice, OpenContexts
from harness.promotion.decisions import GATES, find_decisions
from harness.promotion.reevaluate import Baseline, Reevaluation, reevaluate
from harness.promotion.served import OpenSearchedIndex, SearchedIndex, evaluate_release, served_index
from harness.reports import write_evaluation
from harness.reports.comparison import write_comparison
from harness.results.new_folder import new_folder
from harness.results.report import EvalReport
from harness.results.report_file import read_report, write_report
from harness.settings import HarnessSettings
from harness.sweep.winner import measured
from serving.pipeline.errors import ConfigError, InfrastructureError, TouchstoneError
from serving.pipeline.models.prices import price_list
from serving.release.bundle import Release, load_release, open_releases
from serving.release.channel import Channel, read_channel
from serving.release.evidence import RecordedReevaluation, ReleaseEvidence, append_evidence
from serving.storage.files import write_text

RECORD = "reevaluation.json"


@dataclass(frozen=True, slots=True)
class FinishedReevaluation:
    """A re-evaluation, with where it was written and the evidence that it became."""

    channel: Channel
    gate: str
    result: Reevaluation
    comparison: ReportComparison | None  # where the cases of the promotion are at hand
    evidence: str
    folder: Path
    page: Path
    searched: SearchedIndex


async def reevaluate_channel(
    name: str, contexts: OpenContexts, *, gate_file: Path | None = None, folder: Path = Path(), searched: OpenSearchedIndex = served_index
) -> FinishedReevaluation:
    """Evaluate what a channel serves as it is served; an outage is raised, and leaves nothing behind."""
    settings = contexts.settings
    storage = open_releases(settings.releases, settings)
    channel = read_channel(storage, name)
    release = load_release(storage, channel.stable)
    promoted = release.evidence[channel.evidence]
    gate = load_gate(gate_file) if gate_file else _gate_of(promoted, folder)
    golden = load_golden(settings.datasets, gate.golden)
    split = golden.split(gate.split, why=f"channel evaluate {name}", ledger=settings.holdout_ledger)
    context = contexts.get(ContextChoice(golden.card.corpus, gate.judge))
    check_gate(gate, context.tools)
    opened = await searched(release, settings)
    report = await evaluate_release(
        release, opened, split, context.evaluator(gate.scored), settings, lambda done, total: contexts.progress("cases", done, total)
    )
    if report.outages:
        error = report.outages[0].error
        raise InfrastructureError(f"{len(report.outages)} of {len(report.rows)} cases were not answered: {error.message if error else ''}")
    before = _evaluation_of(promoted, report, settings)
    result = reevaluate(gate, report, Baseline(promoted, channel.evidence, before))
    comparison = compare_reports(before, report) if before else None
    evidence = _new_evidence(channel, release, gate, report, result, opened, settings)
    place = new_folder(settings.reports / "channels", name, datetime.now(UTC))
    write_report(report, place / "cases.jsonl")
    labels = (f"promoted by {channel.evidence}", f"{name} now")
    page = write_comparison(comparison, labels, place) if comparison else write_evaluation(report, place, name=f"{name}: {release.digest}")
    added = append_evidence(storage, evidence)
    write_text(place / RECORD, evidence.text)
    return FinishedReevaluation(channel, gate.name, result, comparison, added, place, page, opened)


def _new_evidence(
    channel: Channel,
    release: Release,
    gate: Gate,
    report: EvalReport,
    result: Reevaluation,
    searched: SearchedIndex,
    settings: HarnessSettings,
) -> ReleaseEvidence:
    """The evidence document of a re-evaluation, which follows the release's newest one and proves no promotion."""
    promoted, prices = release.evidence[channel.evidence], price_list(settings)
    return ReleaseEvidence(
        release=release.digest,
        sums_sha256=hashlib.sha256(release.sums).hexdigest(),
        previous=release.newest_evidence,
        corpus=promoted.corpus,
        corpus_digest=promoted.corpus_digest,
        measured=(measured(f"channel evaluate {channel.name}", report),),
        decision=None,
        verdict=None,
        mlflow_run="",
        git_commit=commit(ROOT),
        price_date=prices.as_of.isoformat(),
        prices=prices.label,
        forced=None,
        reevaluation=RecordedReevaluation(
            channel=channel.name,
            baseline=channel.evidence,
            gate=gate.name,
            gate_digest=gate.digest,
            state="pass" if result.passed else "fail",
            message=result.message,
            differences=result.differences,
            corpus_version=searched.corpus_version,
            documents_added=searched.documents_added,
        ),
        who=settings.promoter,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _gate_of(evidence: ReleaseEvidence, folder: Path) -> Gate:
    """The gate that a release was promoted by, as its file is now; of a forced one the first that is there."""
    gates = [load_gate(path) for path in sorted((folder / GATES).glob("*.yaml"))]
    named = evidence.decision.gate if evidence.decision else ""
    found = [gate for gate in gates if gate.name == named] if named else gates
    if not found:
        what = f"No gate {named!r}" if named else "No gate"
        raise ConfigError(f"{what} in {folder / GATES} to evaluate {evidence.release} by. Name one: --gate FILE")
    return found[0]


def _evaluation_of(evidence: ReleaseEvidence, now: EvalReport, settings: HarnessSettings) -> EvalReport | None:
    """The evaluation that a release was promoted by: beside its gate's decision, or as the champion it became."""
    head, decided = now.header, evidence.decision
    readers: list[Callable[[], EvalReport | None]] = [
        one.evaluation
        for one in find_decisions(settings.reports)
        if decided and (one.decision.config_digest, one.decision.decided_at) == (evidence.release, decided.decided_at)
    ]
    champion = champion_path(settings.champion_folder, head.golden, head.split)
    readers += [lambda: read_report(champion)] if champion.is_file() else []
    for read in readers:
        try:
            found = read()
        except TouchstoneError:  # damaged, or of another version: the evidence still has its numbers
            continue
        if found and (found.header.config_digest, found.header.split_digest) == (evidence.release, head.split_digest):
            return found
    return None
