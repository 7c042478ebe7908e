"""A trial: a configuration, what it scored, and why it ended as it did."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from harness.evaluation.evaluator import was_refused
from harness.golden.sets import Split
from harness.results.case_result import CaseResult
from harness.results.header import Header
from harness.results.numbers import numbers
from harness.results.report import EvalReport, first_error
from harness.stats.text import number_text
from harness.sweep.experiment import Experiment
from serving.pipeline.config import RagConfig

State = Literal["complete", "pruned", "failed"]


@dataclass(frozen=True, slots=True)
class Trial:
    """A configuration and what it scored on the tune split; number 0 is the base."""

    number: int
    values: Mapping[str, Any]
    config: RagConfig
    report: EvalReport  # slim: the whole one lies in the sweep's folder
    objectives: tuple[float, ...]  # none where one of them has no value: such a trial has failed
    run_id: str = ""
    state: State = "complete"
    why: str = ""  # where it is not complete
    label: str = ""  # base, champion
    violations: Mapping[str, float] = field(default_factory=dict)  # constraint → how far beyond its limit

    def __repr__(self) -> str:
        values = ", ".join(f"{path}={value}" for path, value in self.values.items())
        return f"<Trial {self.name}: {self.state}, {self.objectives}, {values}>"[:1000]

    @property
    def objective(self) -> float | None:
        """The first objective."""
        return self.objectives[0] if self.objectives else None

    def score_text(self, cases: int) -> str:
        """The first objective; of a trial that did not complete, over how many of the cases: "0.412 over 24 of 80"."""
        seen = len(self.report.rows)
        return number_text(self.objective) + (f" over {seen} of {cases}" if seen < cases else "")

    def merit(self, sign: float) -> float:
        """The first objective for ranking, the higher the better (sign −1 where low is good); without one it ranks last."""
        return -math.inf if self.objective is None else sign * self.objective

    @property
    def name(self) -> str:
        """Its short name: base, champion, or its number."""
        return self.label or str(self.number)

    @property
    def title(self) -> str:
        """Its name in a sentence: the base, the champion, trial 7."""
        return f"the {self.label}" if self.label else f"trial {self.number}"

    @property
    def usable(self) -> bool:
        """Whether it may be a finalist: completed, without a crash, within every limit."""
        return self.state == "complete" and not any(violation > 0 for violation in self.violations.values())


def make_trial(
    experiment: Experiment,
    number: int,
    values: Mapping[str, Any],
    config: RagConfig,
    report: EvalReport,
    base: EvalReport,
    failed: str = "",
) -> Trial:
    """The trial of a report; `base` is the base's report, and `failed` says why the configuration could not be scored completely."""
    measured = numbers(report)
    objectives = {name: value for name in experiment.objective if (value := measured.get(name)) is not None}
    violations = {}
    for name, limit in experiment.constraints.items():
        value = measured.get(name)
        violations[name] = 1.0 if value is None else limit.violation(value)  # what was not measured is not kept
    crashed = at_fault(report, base)
    why = failed or (f"{len(crashed)} of {len(report.rows)} cases crashed" if crashed else "")
    if missing := [name for name in experiment.objective if name not in objectives]:
        why = failed or f"no case has a value of {', '.join(missing)}: {first_error(report)}".removesuffix(": ")
    state: State = "failed" if why else "complete"
    reached = () if missing else tuple(objectives.values())
    return Trial(number, values, config, report, reached, state=state, why=why, violations=violations)


def whole_cases(trials: Sequence[Trial]) -> int:
    """How many cases a trial completed on: the base is one that always is."""
    return max((len(trial.report.rows) for trial in trials), default=0)


def at_fault(report: EvalReport, base: EvalReport) -> list[CaseResult]:
    """The cases that a configuration could not answer; a question that the base's model refuses as well is not its fault."""
    known = {row.case.id for row in base.rows if was_refused(row)}
    return [row for row in report.errors if not (was_refused(row) and row.case.id in known)]


def unscored_report(experiment: Experiment, config: RagConfig, split: Split) -> EvalReport:
    """The empty report of a configuration that was scored on no case."""
    about = (split.golden, split.golden_digest, split.name, split.digest)
    return EvalReport(Header(config.complete().model_dump(mode="json"), "", "", "", *about, experiment.metrics), ())


def merge_reports(parts: Sequence[EvalReport], split_name: str, split_digest: str) -> EvalReport:
    """One report of several blocks of a split."""
    first = parts[0]
    seconds = round(sum(part.header.seconds for part in parts), 3)
    header = replace(first.header, split=split_name, split_digest=split_digest, seconds=seconds)
    return EvalReport(header, tuple(row for part in parts for row in part.rows))
