"""The comparison of two evaluations, as values."""

from dataclasses import dataclass
from typing import Any, Literal

from harness.results.case_result import CaseResult
from harness.results.display import Display
from harness.results.report import EvalReport
from harness.results.timing import TimingComparison
from harness.stats import MARGIN, Comparison, Interval
from harness.stats.text import difference_text, number_text, p_value_text


@dataclass(frozen=True, slots=True)
class MetricDifference:
    """One metric of A and B on the cases that both scored."""

    metric: str
    direction: str  # higher or lower is better
    before: Interval
    after: Interval
    comparison: Comparison  # B − A; interval, p and outcome corrected for all metrics compared
    unpaired: int  # cases of either evaluation that one of them did not score

    @property
    def outcome(self) -> str:
        """What B is to A: better, equivalent, worse or undecided."""
        return self.comparison.outcome


@dataclass(frozen=True, slots=True)
class MetricChange:
    """One metric's value on one case, before and after."""

    metric: str
    before: float
    after: float
    better: bool


@dataclass(frozen=True, slots=True)
class CaseFlip:
    """A case on which some metric moved by half its range or more."""

    before: CaseResult
    after: CaseResult
    moves: tuple[MetricChange, ...]

    @property
    def outcome(self) -> Literal["gained", "lost", "mixed"]:
        """Whether B gained the case, lost it, or both, by different metrics."""
        better = {move.better for move in self.moves}
        return "mixed" if len(better) > 1 else "gained" if better == {True} else "lost"


@dataclass(frozen=True, slots=True)
class SliceDifference:
    """One metric on the cases of one kind or domain."""

    by: str  # kind | domain
    name: str
    metric: str
    comparison: Comparison  # interval, p and outcome corrected for all slices of all metrics looked at

    @property
    def moved(self) -> bool:
        """Whether it is better or worse by more than chance allows."""
        return self.comparison.outcome in ("better", "worse")


@dataclass(frozen=True, slots=True)
class CostDifference:
    """A cost or a time of both; the mean difference with its interval where there is one for each case, but never of a time."""

    name: str
    unit: str
    before: float | None
    after: float | None
    comparison: Comparison | None = None
    timing: TimingComparison | None = None  # of times that were measured to be compared
    note: str = ""  # replaces the interval


@dataclass(frozen=True, slots=True)
class ConfigChange:
    """A field of the configuration that differs; `None` where one of them lacks it."""

    path: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class ReportComparison:
    """Two evaluations of the same questions, A (before) and B (after)."""

    before: EvalReport
    after: EvalReport
    cases: int  # that both have
    metrics: tuple[MetricDifference, ...]
    flips: tuple[CaseFlip, ...]
    slices: tuple[SliceDifference, ...]
    costs: tuple[CostDifference, ...]
    changes: tuple[ConfigChange, ...]
    notes: tuple[str, ...]  # what a reader must know before believing the numbers
    margin: float = MARGIN  # of scores between 0 and 1

    @property
    def verdict(self) -> str:
        """All outcomes in one line."""
        named: dict[str, list[str]] = {"better": [], "worse": [], "equivalent": [], "undecided": []}
        for difference in self.metrics:
            named[difference.outcome].append(difference.metric)
        most = max(("equivalent", "undecided"), key=lambda outcome: len(named[outcome]))
        parts = [f"{outcome} by {', '.join(names)}" for outcome, names in named.items() if names and outcome != most]
        if rest := named[most]:
            others = f"{'all' if not parts else 'the other'} {len(rest)} metrics" if len(rest) > 1 else rest[0]
            parts.append(f"{most} by {others}")
        return "B is " + "; ".join(parts) + "."

    @property
    def explanation(self) -> str:
        """The meaning of the verdict's words here, in a sentence."""
        return (
            f"Corrected for {len(self.metrics)} metrics; equivalent: the interval lies inside ±{self.margin:g}; undecided: these cases "
            "cannot tell, which is no “equal”."
        )

    def flipped(self, outcome: str) -> list[CaseFlip]:
        """The flips with this outcome."""
        return [flip for flip in self.flips if flip.outcome == outcome]

    @property
    def display(self) -> Display:
        """The verdict, and every metric of both."""
        rows = [
            (
                difference.metric,
                number_text(difference.before.mean),
                number_text(difference.after.mean),
                difference_text(difference.comparison),
                p_value_text(difference.comparison.p_value),
                difference.outcome,
            )
            for difference in self.metrics
        ]
        head = self.after.header
        title = f"ReportComparison on {head.golden} {head.split}, {self.cases} cases: {self.verdict}"
        return Display(title, ("metric", "A", "B", "B − A, interval", "p", "verdict"), rows, (self.explanation, *self.notes))

    def __repr__(self) -> str:
        return self.display.text

    def _repr_html_(self) -> str:
        return self.display.html
