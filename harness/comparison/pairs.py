"""The same cases in two evaluations, and the paired comparison of a metric on them."""

from collections.abc import Sequence
from dataclasses import dataclass

from harness.results.case_result import CaseResult
from harness.results.clusters import clusters_of
from harness.results.report import EvalReport
from harness.stats import Comparison, compare_paired


@dataclass(frozen=True, slots=True)
class CasePair:
    """One case in both evaluations."""

    before: CaseResult
    after: CaseResult

    def values(self, metric: str) -> tuple[float, float] | None:
        """A metric of both, or `None` where one is unscored."""
        before, after = self.before.value(metric), self.after.value(metric)
        return None if before is None or after is None else (before, after)


def case_pairs(before: EvalReport, after: EvalReport) -> list[CasePair]:
    """The cases that are in both evaluations."""
    known = {row.case.id: row for row in before.rows}
    return [CasePair(known[row.case.id], row) for row in after.rows if row.case.id in known]


def compare_metric(base: EvalReport, other: EvalReport, metric: str) -> Comparison:
    """The paired comparison of two evaluations on the cases that both scored; none of them makes it a tie."""
    return compare_pairs(case_pairs(base, other), metric, direction_of(other, metric))


def compare_pairs(pairs: Sequence[CasePair], metric: str, direction: str) -> Comparison:
    """The paired comparison of a metric on those pairs that both scored."""
    both = [(pair, values) for pair in pairs if (values := pair.values(metric)) is not None]
    before, after = [values[0] for _, values in both], [values[1] for _, values in both]
    return compare_paired(before, after, clusters_of(pair.after.case for pair, _ in both), higher_is_better=direction == "higher")


def direction_of(report: EvalReport, metric: str) -> str:
    """Whether higher or lower is better."""
    return report.header.directions.get(metric, "higher")
