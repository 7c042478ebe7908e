"""Statistics as one says them."""

from harness.stats.paired import Comparison


def p_words(p_value: float) -> str:
    """A p-value as one says it; it is never 0."""
    return "p < 0.001" if p_value < 0.001 else f"p {p_value:.3f}"


def difference_words(one: Comparison, digits: int = 3) -> str:
    """A difference with its interval."""
    return f"{one.difference:+.{digits}f} [{one.low:+.{digits}f}, {one.high:+.{digits}f}]"
