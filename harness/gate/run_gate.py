"""Run a gate on a configuration or a recorded evaluation, and write its decision."""

from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from harness.evaluation.context import EvaluationContext
from harness.gate.champion import champion_path, read_champion
from harness.gate.decide import decide
from harness.gate.decision import DECISION_CODEC, Decision
from harness.gate.gate import Gate, check_gate
from harness.gate.junit import junit
from harness.gate.leaks import Leaks, find_leaks
from harness.gate.rules import LeakRule
from harness.gate.summary import mean_text, summary, threshold_text, value_text
from harness.golden.sets import GoldenSet, Split
from harness.results.display import Display
from harness.results.new_folder import new_folder
from harness.results.report import EvalReport
from harness.results.report_file import write_report
from serving.pipeline.build import build_pipeline
from serving.pipeline.config import RagConfig
from serving.pipeline.errors import DataError
from serving.pipeline.progress import Progress
from serving.storage.files import write_text


@dataclass(frozen=True)
class GateContext:
    """A gate with its golden set and the context of its evaluation."""

    gate: Gate
    golden: GoldenSet
    evaluation: EvaluationContext
    file: str = ""  # of the gate, for what the user is told to run

    @property
    def champion(self) -> Path:
        """The file of the champion of this golden set's split."""
        return champion_path(self.evaluation.settings.champion_folder, self.golden.id, self.gate.split)

    def split(self, why: str) -> Split:
        """The gate's cases; a look at the holdout is recorded."""
        return self.golden.split(self.gate.split, why=why, ledger=self.evaluation.settings.holdout_ledger)

    def check(self) -> None:
        """Refuse a gate with unknown metrics or an uncalibrated judge, before anything runs."""
        check_gate(self.gate, self.evaluation.tools)


@dataclass(frozen=True)
class GateResult:
    """A decision, and the evaluation behind it."""

    decision: Decision
    report: EvalReport

    @property
    def display(self) -> Display:
        """The state, and every ruling."""
        rows = [
            (ruling.id, ruling.subject, mean_text(ruling), value_text(ruling), threshold_text(ruling), ruling.outcome_text)
            for ruling in self.decision.rulings
        ]
        return Display(
            f"GateResult of {self.decision.gate}: {self.decision.state}",
            ("rule", "of", "mean", "judged", "needed", "outcome"),
            rows,
            (self.decision.message,),
        )

    def __repr__(self) -> str:
        return self.display.text

    def _repr_html_(self) -> str:
        return self.display.html


async def run_gate(
    context: GateContext, config: RagConfig, *, champion: Path | None = None, progress: Progress | None = None
) -> GateResult:
    """Evaluate a configuration on the gate's cases and decide."""
    context.check()
    split = context.split(f"gate {context.gate.name}")
    champion_report = _champion(context, split, champion)
    by_time = context.gate.decides_by_time  # then no kept answer may stand for a computed one, and none waits for another
    factory = replace(context.evaluation.factory, computed=True) if by_time else context.evaluation.factory
    report = await factory.evaluate(config, split, context.evaluation.evaluator(context.gate.scored, 1 if by_time else 4), progress)
    return GateResult(decide(context.gate, report, champion_report, await _leaks(context, config, split)), report)


async def judge_recorded(context: GateContext, report: EvalReport, source: Path, *, champion: Path | None = None) -> GateResult:
    """Decide on a recorded evaluation, refused unless it is of the gate's cases and metrics."""
    context.check()
    split = context.split(f"gate {context.gate.name} of {source.parent.name}")
    if report.header.split_digest != split.digest:
        raise DataError(f"{source}: not made on {split.golden} {split.name} as it is now. Leave --run out to evaluate again.")
    if missing := [name for rule in context.gate.rules for name in rule.metrics if name not in report.header.metrics]:
        raise DataError(f"{source}: was not scored by {', '.join(dict.fromkeys(missing))}. Leave --run out to evaluate again.")
    champion_report = _champion(context, split, champion)
    config = RagConfig.parse(report.header.config, source=str(source))
    if (
        any(isinstance(rule, LeakRule) for rule in context.gate.rules)
        and context.evaluation.factory.digest(config) != report.header.config_digest
    ):
        what = "the documents, the prompts or the code changed since, and the gate asks the retriever for leaks"
        raise DataError(f"{source}: {what}. Leave --run out to evaluate again.")
    return GateResult(decide(context.gate, report, champion_report, await _leaks(context, config, split)), report)


def new_gate_folder(reports: Path, gate: str, now: datetime) -> Path:
    """A new folder for a decision; none is overwritten, since promotions read all of them."""
    return new_folder(reports / "gates", gate, now)


def write_decision(decision: Decision, report: EvalReport | None, folder: Path) -> None:
    """Write decision.json, junit.xml, summary.md and, where there is one, the evaluation."""
    import json

    write_text(folder / "decision.json", json.dumps(DECISION_CODEC.dump(decision), indent=2, ensure_ascii=False) + "\n")
    write_text(folder / "junit.xml", junit(decision))
    write_text(folder / "summary.md", summary(decision))
    if report is not None:
        write_report(report, folder / "cases.jsonl")


def reproducible(result: GateResult, command: str) -> GateResult:
    """The result with the command that reproduces it."""
    return replace(result, decision=replace(result.decision, reproduce=command))


def _champion(context: GateContext, split: Split, path: Path | None) -> EvalReport | None:
    """What the candidate is compared with: the evaluation that was named, else the recorded champion; none before the first promotion."""
    if path is None and not (context.gate.needs_champion and context.champion.is_file()):
        return None
    cases = {"golden": split.golden, "golden_digest": split.golden_digest, "split_digest": split.digest}
    return read_champion(path or context.champion, **cases, gate=context.file)


async def _leaks(context: GateContext, config: RagConfig, split: Split) -> dict[str, Leaks]:
    rules = [rule for rule in context.gate.rules if isinstance(rule, LeakRule)]
    if not rules:
        return {}
    factory = context.evaluation.factory
    # built here, not by the factory: its retriever has the stage store in front, and a leak test must ask the index itself
    retriever = build_pipeline(config, await factory.index(config), factory.prompts, factory.settings).retriever
    return {rule.id: await find_leaks(rule, retriever, context.evaluation.factory.corpus, split.cases) for rule in rules}
