"""Numbers, p-values and differences as text."""

from harness.stats.paired import Comparison


def number_text(value: float | None, digits: int = 3) -> str:
    """A number, or a dash where there is none."""
    return "–" if value is None else f"{value:.{digits}f}"


def range_text(low: float | None, high: float | None) -> str:
    """Both ends of an interval; empty where there is none."""
    return "" if low is None or high is None else f"[{low:.3f}, {high:.3f}]"


def p_value_text(p_value: float) -> str:
    """A p-value; it is never shown as 0."""
    return "p < 0.001" if p_value < 0.001 else f"p {p_value:.3f}"


def difference_text(comparison: Comparison, digits: int = 3) -> str:
    """A difference with its confidence interval."""
    return f"{comparison.difference:+.{digits}f} [{comparison.low:+.{digits}f}, {comparison.high:+.{digits}f}]"
