"""The numbers of an evaluation by the names that trackers, gates and experiments use."""

from harness.results.report import EvalReport


def numbers(report: EvalReport) -> dict[str, float | None]:
    """Every number of an evaluation by its MLflow name."""
    values: dict[str, float | None] = {}
    for name, interval in report.summary.items():
        values |= {name: interval.mean, f"{name}.low": interval.low, f"{name}.high": interval.high}
        values[f"{name}.coverage"] = interval.count / max(1, len(report.rows))
    values |= {f"cost.{name}": value for name, value in report.costs.items()}
    for stage, times in report.times.items():
        values |= {f"ms.{stage}.{percentile}": value for percentile, value in times.items()}
    return values | {"cases": float(len(report.rows)), "errors": float(len(report.errors)), "seconds": report.header.seconds}
