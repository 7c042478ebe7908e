"""A gate held on a configuration or a recorded evaluation, and champions recorded for gates."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.gate.champion import champion_path, read_champion, save_champion
from harness.gate.gate import Gate, load_gate
from harness.gate.run_gate import GateContext, GateResult, judge_recorded, run_gate
from harness.golden.load import load_golden
from harness.project.contexts import ContextChoice, OpenContexts
from harness.project.evaluate import score
from harness.promotion.decisions import FoundDecision
from harness.resolve import CASES, NamedApp, RecordedRun, Resolved, config_of
from harness.results.report import EvalReport
from serving.pipeline.errors import ConfigError, DataError


@dataclass(frozen=True, slots=True)
class RecordedChampion:
    """A champion with the file that it is kept in."""

    path: Path
    report: EvalReport
    missing: tuple[str, ...] = ()  # metrics of its gates that it was not scored by


def open_gate(gate: Gate, contexts: OpenContexts, *, file: str = "", store: bool = True, replay_only: bool = False) -> GateContext:
    """The context of a gate: its golden set with its documents, and its judge."""
    golden = load_golden(contexts.settings.datasets, gate.golden)
    return GateContext(gate, golden, contexts.get(ContextChoice(golden.card.corpus, gate.judge, store, replay_only)), file)


async def decide_gate(context: GateContext, subject: Resolved, contexts: OpenContexts, champion: Path | None = None) -> GateResult:
    """Run a gate on a configuration, or decide on a recorded evaluation."""
    if isinstance(subject, NamedApp) or (isinstance(subject, RecordedRun) and subject.report.header.app):
        raise ConfigError(f"A gate is held on configurations, and {subject.label} is an app of yours. Compare them: touchstone compare")
    if isinstance(subject, RecordedRun):
        source = subject.path if subject.path.name else Path(subject.label) / CASES
        return await judge_recorded(context, subject.report, source, champion=champion)
    named = config_of(subject, contexts.settings)
    if named.release:
        context = replace(context, evaluation=context.evaluation.with_release(named.prompts, named.artefacts))
    return await run_gate(context, named.config, champion=champion, progress=lambda done, total: contexts.progress("cases", done, total))


async def record_champions(gates: Sequence[Gate], subject: Resolved, contexts: OpenContexts) -> list[RecordedChampion]:
    """Record the champion of the gates' cases, scored by all of their metrics; a recorded evaluation for its own cases only."""
    champions: list[RecordedChampion] = []
    if not isinstance(subject, RecordedRun) or subject.report.header.app:
        subject = config_of(subject, contexts.settings)
    for gate in merge_gates(gates):
        context = open_gate(gate, contexts)
        if isinstance(subject, RecordedRun):
            report = subject.report
            if (report.header.golden, report.header.split) != (context.golden.id, gate.split):
                continue
            if report.header.split_digest != context.split(f"champion from {subject.path.parent.name}").digest:
                cases = f"{context.golden.id} {gate.split}"
                raise DataError(f"{subject.path}: not made on {cases} as it is now. Leave --run out to evaluate again.")
        else:
            split = context.split("champion set")
            report = await score(
                subject, context.evaluation, split, gate.scored, 4, lambda done, total: contexts.progress("cases", done, total)
            )
        path = champion_path(contexts.settings.champion_folder, context.golden.id, gate.split)
        save_champion(report, path)
        champions.append(RecordedChampion(path, report))
    if not champions and isinstance(subject, RecordedRun):
        raise DataError(f"{subject.path}: no gate is held on its cases, so nothing would be compared with it.")
    return champions


async def record_promoted(proof: FoundDecision, subject: Resolved, gates: Sequence[Gate], contexts: OpenContexts) -> list[RecordedChampion]:
    """Record what was promoted as the champion of the cases that its gate was held on.

    The gate's own evaluation is kept, or a new one where another gate on these cases asks for more metrics than it scored.
    """
    decision, settings = proof.decision, contexts.settings
    same = [gate for gate in gates if (load_golden(settings.datasets, gate.golden).id, gate.split) == (decision.golden, decision.split)]
    report = proof.evaluation()
    scored = {name for gate in merge_gates(same) for name in gate.scored}
    if report is not None and scored <= set(report.header.metrics):
        path = champion_path(settings.champion_folder, decision.golden, decision.split)
        save_champion(report, path)
        return [RecordedChampion(path, report)]
    return await record_champions(same, subject, contexts)


def recorded_champions(gates: Sequence[Gate], contexts: OpenContexts) -> list[RecordedChampion]:
    """The champion of each gate's cases, and what today's candidates could not be compared by."""
    champions: list[RecordedChampion] = []
    for gate in merge_gates(gates):
        golden = load_golden(contexts.settings.datasets, gate.golden)
        path = champion_path(contexts.settings.champion_folder, golden.id, gate.split)
        report = read_champion(path, golden=golden.id, golden_digest=golden.digest, split_digest=None)
        champions.append(RecordedChampion(path, report, tuple(name for name in gate.scored if name not in report.header.metrics)))
    return champions


def load_gates(files: Sequence[Path], folder: Path) -> list[Gate]:
    """Gates by their files; by default every one of a folder."""
    paths = list(files or sorted(folder.glob("*.yaml")))
    if not paths:
        raise ConfigError(f"No gate file in {folder}. Name one: touchstone champion set FILE")
    return [load_gate(path) for path in paths]


def merge_gates(gates: Sequence[Gate]) -> list[Gate]:
    """One gate per golden set and split, with the metrics of all; a judge is asked where one of them names it."""
    by_cases: dict[tuple[str, str], Gate] = {}
    for gate in gates:
        key = (gate.golden, gate.split)
        if (other := by_cases.get(key)) is None:
            by_cases[key] = gate.model_copy(update={"metrics": gate.scored})
            continue
        if gate.judge and other.judge and gate.judge != other.judge:
            raise ConfigError(
                f"Gates {other.name!r} and {gate.name!r} name different judges for the same cases: name the gate to record for."
            )
        both = tuple(dict.fromkeys([*other.metrics, *gate.scored]))
        by_cases[key] = other.model_copy(update={"metrics": both, "judge": other.judge or gate.judge})
    return list(by_cases.values())
