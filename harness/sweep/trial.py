"""A trial: a configuration, what it scored, and why it ended as it did."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from harness.evaluate import refused
from harness.results import CaseResult, EvalReport, numbers
from harness.sweep.experiment import Experiment
from serving.pipeline.config import RagConfig

State = Literal["complete", "pruned", "failed"]


@dataclass(frozen=True, slots=True)
class Tried:
    """A configuration and what it scored on the tune split; number 0 is the base."""

    number: int
    values: Mapping[str, Any]
    config: RagConfig
    report: EvalReport
    objectives: tuple[float, ...]
    run_id: str = ""
    state: State = "complete"
    why: str = ""  # where it is not complete
    label: str = ""  # base, champion
    violations: Mapping[str, float] = field(default_factory=dict)  # constraint → how far beyond its limit

    @property
    def objective(self) -> float:
        """The first objective."""
        return self.objectives[0]

    @property
    def name(self) -> str:
        """How it is spoken of: base, champion, or its number."""
        return self.label or str(self.number)

    @property
    def title(self) -> str:
        """The same in a sentence: the base, the champion, trial 7."""
        return f"the {self.label}" if self.label else f"trial {self.number}"

    @property
    def usable(self) -> bool:
        """Whether it may be a finalist: seen to its end, without a crash, within every limit."""
        return self.state == "complete" and not any(far > 0 for far in self.violations.values())


def tried(
    experiment: Experiment, number: int, values: Mapping[str, Any], config: RagConfig, report: EvalReport, first: EvalReport
) -> Tried | None:
    """The trial that a report makes, beside that of the base; `None` where an objective has no value at all."""
    found = numbers(report)
    objectives = [found.get(name) for name in experiment.objective]
    known = [value for value in objectives if value is not None]
    if len(known) < len(objectives):
        return None
    far = {name: limit.violation(value) for name, limit in experiment.constraints.items() if (value := found.get(name)) is not None}
    unknown = {name: 1.0 for name in experiment.constraints if found.get(name) is None}  # what cannot be seen is not kept
    wrong = at_fault(report, first)
    state: State = "failed" if wrong else "complete"
    why = f"{len(wrong)} of {len(report.rows)} cases crashed" if wrong else ""
    return Tried(number, values, config, report, tuple(known), state=state, why=why, violations=far | unknown)


def at_fault(report: EvalReport, first: EvalReport) -> list[CaseResult]:
    """The cases that a configuration could not answer; a question that the first one's model refuses as well is not its fault."""
    known = {row.case.id for row in first.rows if refused(row)}
    return [row for row in report.errors if not (refused(row) and row.case.id in known)]


def merged(parts: Sequence[EvalReport], split_name: str, split_digest: str) -> EvalReport:
    """One report of several blocks of a split."""
    first = parts[0]
    seconds = round(sum(part.header.seconds for part in parts), 3)
    header = replace(first.header, split=split_name, split_digest=split_digest, seconds=seconds)
    return EvalReport(header, tuple(row for part in parts for row in part.rows))
