"""Times as text: what was measured, and where nothing was, why not."""

from typing import Literal

from harness.results.report import EvalReport
from harness.results.timing import TimingComparison

NOT_MEASURED = "not measured"


def times_text(report: EvalReport) -> str:
    """The median and the slow end of an answer's time, of those answers that were computed."""
    p50, p95 = report.time("p50"), report.time("p95")
    if p50 is None or p95 is None:
        return "time not measured: the answers, or parts of them, were kept from before" if report.kept else "time not measured"
    of = f" (of {len(report.traces) - report.kept} answers; {report.kept} were kept from before)" if report.kept else ""
    return f"{p50:.0f} ms p50, {p95:.0f} ms p95{of}"


def milliseconds_text(report: EvalReport, share: Literal["p50", "p95", "p99"], stage: str = "total") -> str:
    """One of an evaluation's times for a table: a number, `kept` where all was kept from before, a dash where nothing was asked."""
    value = report.time(share, stage)
    return f"{value:.0f}" if value is not None else "kept" if report.kept else "–"


def timing_text(timing: TimingComparison | None) -> str:
    """A ratio of times with its interval, and what it comes to."""
    if timing is None:
        return NOT_MEASURED
    return f"×{timing.ratio:.2f} [{timing.low:.2f}, {timing.high:.2f}], {pace(timing)}"


def pace(timing: TimingComparison) -> str:
    """Faster or slower, where the interval says so."""
    return "faster" if timing.high < 1 else "slower" if timing.low > 1 else "not seen to differ"
