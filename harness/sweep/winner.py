"""A sweep's winner as a file: the configuration that won, and the evidence for it."""

from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from harness.results.report import EvalReport
from harness.sweep.verdict import SweepResult
from serving.pipeline.errors import DataError
from serving.pipeline.registry import explain
from serving.release.evidence import MeasuredMetric, MeasuredSplit, RecordedComparison, RecordedVerdict
from serving.storage.files import write_text

WINNER = "winner.json"


class SweepWinner(BaseModel):
    """What a sweep hands to promotion: the configuration that won, and what proves it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    config: dict[str, Any]
    config_digest: str
    corpus: str
    verdict: RecordedVerdict
    measured: tuple[MeasuredSplit, ...]
    mlflow_run: str


def winner_document(result: SweepResult, corpus: str) -> SweepWinner:
    """The winner of a sweep's result."""
    winner, against = result.winner, result.winner.against
    comparison = against and RecordedComparison(
        incumbent=result.incumbent.trial.name,
        metric=result.experiment.goal,
        difference=against.difference,
        low=against.low,
        high=against.high,
        p_value=against.p_value,
    )
    verdict = RecordedVerdict(
        experiment=result.experiment.name,
        experiment_digest=result.experiment.digest,
        verdict=result.verdict,
        reason=result.reason,
        against=comparison,
    )
    return SweepWinner(
        config=winner.trial.config.model_dump(mode="json"),
        config_digest=winner.holdout.header.config_digest,
        corpus=corpus,
        verdict=verdict,
        measured=(measured("sweep", winner.holdout), measured("sweep", winner.trial.report)),
        mlflow_run=result.run_id,
    )


def measured(by: str, report: EvalReport) -> MeasuredSplit:
    """What an evaluation proves, in numbers."""
    head = report.header
    return MeasuredSplit(
        by=by,
        golden=head.golden,
        golden_digest=head.golden_digest,
        split=head.split,
        split_digest=head.split_digest,
        cases=len(report.rows),
        errors=len(report.errors),
        metrics={
            name: MeasuredMetric(mean=interval.mean, low=interval.low, high=interval.high, scored=interval.count)
            for name, interval in report.summary.items()
        },
        usd_per_query=report.costs.get("usd"),
        money="simulated" if report.simulated else "billed",
    )


def newest_winner(reports: Path) -> Path:
    """The winner of the newest sweep."""
    found = sorted(reports.glob(f"sweeps/*/{WINNER}"), key=lambda path: (path.stat().st_mtime, str(path)))
    if not found:
        raise DataError(f"No sweep has a winner in {reports / 'sweeps'} yet. Run: touchstone sweep experiments/quickstart.yaml")
    return found[-1]


def read_winner(path: Path) -> SweepWinner:
    """A sweep's winner, checked for what promotion needs."""
    try:
        return SweepWinner.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise DataError(f"No file {str(path)!r}. A sweep writes one: reports/sweeps/<name>/{WINNER}") from None
    except ValidationError as error:
        raise DataError(explain(error, f"{path}: not a winner", list(SweepWinner.model_fields))) from None
    except OSError as error:
        raise DataError(f"{path}: not a winner: {error}") from None


def write_winner(result: SweepResult, corpus: str, folder: Path) -> Path:
    """Put a sweep's winner where promotion finds it, and its configuration where a gate does."""
    path = folder / WINNER
    config = result.winner.trial.config.complete().model_dump(mode="json")
    write_text(path.with_suffix(".yaml"), yaml.safe_dump(config, sort_keys=False, allow_unicode=True))
    write_text(path, winner_document(result, corpus).model_dump_json(indent=2))
    return path
