"""A gate held on a configuration or a recorded evaluation, and champions recorded for gates."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.gate.champion import champion_path, read_champion, save_champion
from harness.gate.gate import Gate, load_gate
from harness.gate.run_gate import GateContext, GateResult, judge_recorded, run_gate
from harness.golden.load import load_golden
from harness.project.contexts import ContextChoice, OpenContexts
from harness.project.evaluate import score
from harness.resolve import CASES, NamedApp, RecordedRun, Resolved, config_of
from harness.results.report import EvalReport
from serving.pipeline.errors import ConfigError, DataError


@dataclass(frozen=True, slots=True)
class RecordedChampion:
    """A champion with the file that it is kept in."""

    path: Path
    report: EvalReport
    missing: tuple[str, ...] = ()  # metrics of its gates that it was not scored by


def open_gate(gate: Gate, contexts: OpenContexts, *, store: bool = True, replay_only: bool = False) -> GateContext:
    """What a gate is held on: its golden set with its documents, and the judge that it names."""
    golden = load_golden(contexts.settings.datasets, gate.golden)
    return GateContext(gate, golden, contexts.get(ContextChoice(golden.card.corpus, gate.judge, store, replay_only)))


async def decide_gate(on: GateContext, found: Resolved, contexts: OpenContexts, champion: Path | None = None) -> GateResult:
    """Hold what is named against a gate; an evaluation that was made before is judged as it is."""
    if isinstance(found, NamedApp) or (isinstance(found, RecordedRun) and found.report.header.app):
        raise ConfigError(f"A gate is held on configurations, and {found.label} is an app of yours. Compare them: touchstone compare")
    if isinstance(found, RecordedRun):
        return await judge_recorded(on, found.report, found.path if found.path.name else Path(found.label) / CASES, champion=champion)
    named = config_of(found, contexts.settings)
    if named.release:
        on = GateContext(on.gate, on.golden, on.evaluation.with_release(named.prompts, named.artefacts))
    return await run_gate(on, named.config, champion=champion, progress=lambda done, total: contexts.progress("cases", done, total))


async def record_champions(gates: Sequence[Gate], found: Resolved, contexts: OpenContexts) -> list[RecordedChampion]:
    """Keep something as the champion of the gates' cases, scored by all of their metrics; a recorded evaluation for its own cases only."""
    kept: list[RecordedChampion] = []
    if not isinstance(found, RecordedRun) or found.report.header.app:
        found = config_of(found, contexts.settings)
    for gate in merged(gates):
        on = open_gate(gate, contexts)
        if isinstance(found, RecordedRun):
            report = found.report
            if (report.header.golden, report.header.split) != (on.golden.id, gate.split):
                continue
            if report.header.split_digest != on.split(f"champion from {found.path.parent.name}").digest:
                raise DataError(f"{found.path}: not made on {on.golden.id} {gate.split} as it is now. Leave --run out to evaluate again.")
        else:
            split = on.split("champion set")
            report = await score(found, on.evaluation, split, gate.scored, 4, lambda done, total: contexts.progress("cases", done, total))
        path = champion_path(contexts.settings.champion_folder, on.golden.id, gate.split)
        save_champion(report, path)
        kept.append(RecordedChampion(path, report))
    if not kept and isinstance(found, RecordedRun):
        raise DataError(f"{found.path}: no gate is held on its cases, so nothing would be compared with it.")
    return kept


def recorded_champions(gates: Sequence[Gate], contexts: OpenContexts) -> list[RecordedChampion]:
    """The champion of each gate's cases, and what today's candidates could not be compared by."""
    found: list[RecordedChampion] = []
    for gate in merged(gates):
        golden = load_golden(contexts.settings.datasets, gate.golden)
        path = champion_path(contexts.settings.champion_folder, golden.id, gate.split)
        report = read_champion(path, golden=golden.id, golden_digest=golden.digest, split_digest=None)
        found.append(RecordedChampion(path, report, tuple(name for name in gate.scored if name not in report.header.metrics)))
    return found


def load_gates(files: Sequence[Path], folder: Path) -> list[Gate]:
    """Gates by their files; by default every one of a folder."""
    paths = list(files or sorted(folder.glob("*.yaml")))
    if not paths:
        raise ConfigError(f"No gate file in {folder}. Name one: touchstone champion set GATE")
    return [load_gate(path) for path in paths]


def merged(gates: Sequence[Gate]) -> list[Gate]:
    """One gate per golden set and split, with the metrics of all; a judge is asked where one of them names it."""
    found: dict[tuple[str, str], Gate] = {}
    for gate in gates:
        key = (gate.golden, gate.split)
        if (other := found.get(key)) is None:
            found[key] = gate.model_copy(update={"metrics": gate.scored})
            continue
        if gate.judge and other.judge and gate.judge != other.judge:
            raise ConfigError(
                f"Gates {other.name!r} and {gate.name!r} name different judges for the same cases: name the gate to record for."
            )
        both = tuple(dict.fromkeys([*other.metrics, *gate.scored]))
        found[key] = other.model_copy(update={"metrics": both, "judge": other.judge or gate.judge})
    return list(found.values())
