"""Two evaluations side by side, on the cases that both scored."""

from harness.results import EvalReport
from harness.stats import Comparison, compare


def held_against(base: EvalReport, other: EvalReport, metric: str) -> Comparison:
    """The paired comparison of two evaluations on the cases that both scored; none of them makes it a tie."""
    before = {row.case.id: row.value(metric) for row in base.rows}
    pairs = [(before.get(row.case.id), row.value(metric)) for row in other.rows]
    both = [(a, b) for a, b in pairs if a is not None and b is not None]
    higher = other.header.directions.get(metric, "higher") == "higher"
    return compare([a for a, _ in both], [b for _, b in both], higher_is_better=higher)
