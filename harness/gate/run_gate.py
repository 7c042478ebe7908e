"""Hold a configuration (or a recorded evaluation) against a gate: everything the command, pytest and CI have in common."""

from dataclasses import dataclass, replace
from datetime import datetime
from itertools import count
from pathlib import Path

from harness.evaluation.context import EvaluationContext
from harness.evaluation.evaluator import Progress
from harness.gate.champion import champion_path, read_champion
from harness.gate.decide import decide
from harness.gate.decision import PLAIN, Decision
from harness.gate.gate import Gate, check_gate
from harness.gate.junit import junit
from harness.gate.leaks import Leaks, find_leaks
from harness.gate.rules import LeakRule
from harness.gate.summary import found, needed, summary
from harness.golden.sets import GoldenSet, Split
from harness.results.display import Display
from harness.results.report import EvalReport
from harness.results.report_file import write_report
from serving.pipeline.build import build_pipeline
from serving.pipeline.config import RagConfig
from serving.pipeline.errors import DataError
from serving.storage.files import write_text


@dataclass(frozen=True)
class GateContext:
    """What a gate is held on: its golden set, and the context of its evaluation."""

    gate: Gate
    golden: GoldenSet
    context: EvaluationContext

    @property
    def champion(self) -> Path:
        """Where the champion of this golden set's split is kept."""
        return champion_path(self.context.settings.champion_folder, self.golden.id, self.gate.split)

    def split(self, why: str) -> Split:
        """The gate's cases; a look at the holdout is written down."""
        return self.golden.split(self.gate.split, why=why, ledger=self.context.settings.holdout_ledger)

    def check(self) -> None:
        """Refuse a gate that asks for what there is not, before anything runs."""
        check_gate(self.gate, self.context.tools)


@dataclass(frozen=True)
class GateResult:
    """What was decided, and the evaluation that it was decided by."""

    decision: Decision
    report: EvalReport

    @property
    def display(self) -> Display:
        """Whether it holds, and every rule."""
        rows = [(one.id, one.subject, found(one), needed(one), one.word) for one in self.decision.rulings]
        return Display(
            f"GateResult of {self.decision.gate}: {self.decision.state}",
            ("rule", "of", "found", "needed", "outcome"),
            rows,
            (self.decision.message,),
        )

    def __repr__(self) -> str:
        return self.display.text

    def _repr_html_(self) -> str:
        return self.display.html


async def run_gate(bench: GateContext, config: RagConfig, *, champion: Path | None = None, progress: Progress | None = None) -> GateResult:
    """Evaluate a configuration on the gate's cases and decide."""
    bench.check()
    split = bench.split(f"gate {bench.gate.name}")
    best = _champion(bench, split, champion)
    report = await bench.context.factory.evaluate(config, split, bench.context.evaluator(bench.gate.scored), progress)
    return GateResult(decide(bench.gate, report, best, await _leaks(bench, config, split)), report)


async def judge_recorded(bench: GateContext, report: EvalReport, source: Path, *, champion: Path | None = None) -> GateResult:
    """Decide by an evaluation that was made before, when it was made on the gate's cases and by its metrics."""
    bench.check()
    split = bench.split(f"gate {bench.gate.name} of {source.parent.name}")
    if report.header.split_digest != split.digest:
        raise DataError(f"{source}: not made on {split.golden} {split.name} as it is now. Leave --run out to evaluate again.")
    if missing := [name for rule in bench.gate.rules for name in rule.metrics if name not in report.header.metrics]:
        raise DataError(f"{source}: was not scored by {', '.join(dict.fromkeys(missing))}. Leave --run out to evaluate again.")
    best = _champion(bench, split, champion)
    config = RagConfig.parse(report.header.config, source=str(source))
    if any(isinstance(rule, LeakRule) for rule in bench.gate.rules) and bench.context.factory.digest(config) != report.header.config_digest:
        what = "the documents, the prompts or the code changed since, and the gate asks the retriever for leaks"
        raise DataError(f"{source}: {what}. Leave --run out to evaluate again.")
    return GateResult(decide(bench.gate, report, best, await _leaks(bench, config, split)), report)


def new_gate_folder(reports: Path, gate: str, now: datetime) -> Path:
    """A folder of its own for a decision: promotions look for all of them, so none may be written over."""
    for number in count(1):
        folder = reports / "gates" / f"{gate}-{now:%Y%m%d-%H%M%S}{'' if number == 1 else f'-{number}'}"
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        return folder
    raise AssertionError("numbers do not end")


def write_decision(decision: Decision, report: EvalReport | None, folder: Path) -> None:
    """Write decision.json, junit.xml, summary.md and, where there is one, the evaluation."""
    import json

    write_text(folder / "decision.json", json.dumps(PLAIN.dump(decision), indent=2, ensure_ascii=False) + "\n")
    write_text(folder / "junit.xml", junit(decision))
    write_text(folder / "summary.md", summary(decision))
    if report is not None:
        write_report(report, folder / "cases.jsonl")


def reproducible(held: GateResult, command: str) -> GateResult:
    """The same with the command that gives it again."""
    return replace(held, decision=replace(held.decision, reproduce=command))


def _champion(bench: GateContext, split: Split, path: Path | None) -> EvalReport | None:
    if not bench.gate.needs_champion and path is None:
        return None
    return read_champion(path or bench.champion, golden=split.golden, golden_digest=split.golden_digest, split_digest=split.digest)


async def _leaks(bench: GateContext, config: RagConfig, split: Split) -> dict[str, Leaks]:
    rules = [rule for rule in bench.gate.rules if isinstance(rule, LeakRule)]
    if not rules:
        return {}
    factory = bench.context.factory
    # built here, not by the factory: that one remembers what was found before, and this must ask the store itself
    retriever = build_pipeline(config, await factory.index(config), factory.prompts, factory.settings).retriever
    return {rule.id: await find_leaks(rule, retriever, bench.context.factory.corpus, split.cases) for rule in rules}
