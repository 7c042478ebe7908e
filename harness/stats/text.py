"""Numbers, p-values and differences as text."""

import math

from harness.stats.paired import Comparison

AT_THE_SPREAD = "at the spread seen here"
DETECTABLE = (
    f"about the true difference that so many cases show four times in five, {AT_THE_SPREAD}; "
    "a change that spreads the scores more takes more"
)


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
    """A difference with its interval, where so many cases allow one."""
    if not math.isfinite(comparison.low):
        return f"{comparison.difference:+.{digits}f} [too few cases]" if comparison.count else "–"
    return f"{comparison.difference:+.{digits}f} [{comparison.low:+.{digits}f}, {comparison.high:+.{digits}f}]"


def seen_text(comparison: Comparison) -> str:
    """What these cases can show, and about how many would decide."""
    documents = "one document" if comparison.clusters == 1 else f"{comparison.clusters} documents"
    places = f" on {documents}" if comparison.clusters < comparison.count else ""
    shown = (
        f"show no difference below about {comparison.detectable:.3f} {AT_THE_SPREAD}"
        if comparison.detectable < (1.0 if comparison.bounded else math.inf)
        else "are too few to show any difference"
    )
    text = f"{comparison.count} cases{places} {shown}"
    needs: list[str] = []
    if abs(comparison.difference) > max(comparison.margin, 1e-9) and (some := comparison.cases_to_show(comparison.difference)):
        needs.append(f"one as large as the one seen takes about {_round(max(some, comparison.count))} cases")
    if comparison.margin > 0 and (most := comparison.cases_to_show(comparison.margin)):
        needs.append(f"one of the margin ({comparison.margin:g}) takes about {_round(max(most, comparison.count))} cases")
    return f"{text}; to show {', '.join(needs)}" if needs else text


def _round(count: int) -> str:
    """A number of cases in two digits, since it is a guess."""
    step = 10 ** max(0, len(str(count)) - 2)
    return f"{math.ceil(count / step) * step:,}"
