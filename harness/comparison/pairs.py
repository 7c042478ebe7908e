"""The same cases in two evaluations, and the paired comparison of a metric on them."""

from collections.abc import Sequence
from dataclasses import dataclass

from harness.results.case_result import CaseResult
from harness.results.clusters import clusters_of
from harness.results.report import EvalReport
from harness.stats import MARGIN, Comparison, compare_paired


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


def compare_metric(base: EvalReport, other: EvalReport, metric: str, *, margin: float | None = None, among: int = 1) -> Comparison:
    """The paired comparison of two evaluations on the cases that both scored; where there is none it is undecided."""
    return compare_pairs(case_pairs(base, other), metric, other, margin=margin, among=among)


def compare_pairs(pairs: Sequence[CasePair], metric: str, report: EvalReport, *, margin: float | None = None, among: int = 1) -> Comparison:
    """The paired comparison of a metric on those pairs that both scored, clustered, corrected for `among` comparisons.

    The report says what the metric is. Without a margin a score between 0 and 1 has the usual one, an amount none.
    """
    both = [(pair, values) for pair in pairs if (values := pair.values(metric)) is not None]
    shares = metric not in report.header.amounts
    return compare_paired(
        [values[0] for _, values in both],
        [values[1] for _, values in both],
        clusters_of(pair.after.case for pair, _ in both),
        higher_is_better=direction_of(report, metric) == "higher",
        margin=(MARGIN if shares else 0.0) if margin is None else margin,
        among=among,
        shares=shares,
    )


def direction_of(report: EvalReport, metric: str) -> str:
    """Whether higher or lower is better."""
    return report.header.directions.get(metric, "higher")
