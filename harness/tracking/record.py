"""How an evaluation is told to a tracker: the same names in every run, so that runs compare side by side."""

from collections.abc import Sequence
from pathlib import Path

from harness.golden.sets import Split
from harness.results import EvalReport, table
from harness.sweep.verdict import SweepResult
from harness.tracking.base import Run
from serving.pipeline.config import RagConfig

PARAMETER_LENGTH = 500  # what MLflow keeps of a value


def record_evaluation(run: Run, report: EvalReport, config: RagConfig, split: Split) -> None:
    """Log parameters by dotted path, metrics with intervals and coverage, costs, times, digests and the table of cases."""
    header = report.header
    run.params({path: str(value)[:PARAMETER_LENGTH] for path, value in config.flat().items()})
    run.dataset(split)
    run.tags(
        {
            "touchstone.config_digest": header.config_digest,
            "touchstone.index_digest": header.index_digest,
            "touchstone.corpus_digest": header.corpus_digest,
            "touchstone.golden": f"{header.golden}:{header.split}",
            "touchstone.golden_digest": header.golden_digest,
            "touchstone.state": "failed" if report.outages else "complete",
            "touchstone.money": "simulated" if report.simulated else "billed",
        }
    )
    run.metrics(numbers(report))
    run.table("cases.json", table(report.rows, header.metrics))


def record_sweep(run: Run, result: SweepResult, files: Sequence[Path]) -> None:
    """Log on the parent what the sweep decided: the experiment, the winner's values and holdout numbers, the verdict, the report."""
    experiment, winner = result.experiment, result.winner
    run.params({"objective": experiment.objective, "trials": len(result.trials), "seed": experiment.seed, "sampler": experiment.sampler})
    run.params({f"winner.{path}": value for path, value in winner.tried.values.items()})
    run.tags(
        {
            "touchstone.experiment": experiment.name,
            "touchstone.experiment_digest": experiment.digest,
            "touchstone.golden": experiment.golden,
            "touchstone.verdict": result.verdict,
            "touchstone.reason": result.reason,
            "touchstone.winner": str(winner.tried.number),
            "touchstone.config_digest": winner.holdout.header.config_digest,
        }
    )
    run.metrics({f"holdout.{name}": value for name, value in numbers(winner.holdout).items() if name in winner.holdout.summary})
    for step, tried in enumerate(result.trials):
        run.metrics({f"tune.{experiment.objective}": tried.objective}, step)
    for path in files:
        run.text(path.name, path.read_text(encoding="utf-8"))


def numbers(report: EvalReport) -> dict[str, float | None]:
    """Every number of an evaluation under its MLflow name."""
    found: dict[str, float | None] = {}
    for name, interval in report.summary.items():
        found |= {name: interval.mean, f"{name}.low": interval.low, f"{name}.high": interval.high}
        found[f"{name}.coverage"] = interval.count / len(report.rows)
    found |= {f"cost.{name}": value for name, value in report.costs.items()}
    for stage, times in report.times.items():
        found |= {f"ms.{stage}.{share}": value for share, value in times.items()}
    return found | {"cases": float(len(report.rows)), "errors": float(len(report.errors)), "seconds": report.header.seconds}
