"""A sweep's winner as a file: the configuration that won, and the evidence for it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from harness.results.report import EvalReport
from harness.sweep.verdict import SweepResult
from serving.pipeline.errors import DataError
from serving.storage.files import write_text

WINNER = "winner.json"


def winner_document(result: SweepResult, corpus: str) -> dict[str, Any]:
    """What a sweep hands to promotion: the configuration and the evidence for it."""
    winner = result.winner
    against = winner.against
    return {
        "config": winner.trial.config.model_dump(mode="json"),
        "config_digest": winner.holdout.header.config_digest,
        "corpus": corpus,
        "evidence": {
            "experiment": result.experiment.name,
            "experiment_digest": result.experiment.digest,
            "verdict": result.verdict,
            "reason": result.reason,
            "against": None
            if against is None
            else {
                "incumbent": result.incumbent.trial.name,
                "metric": result.experiment.goal,
                "difference": against.difference,
                "low": against.low,
                "high": against.high,
                "p_value": against.p_value,
            },
            "holdout": evidence_of(winner.holdout),
            "tune": evidence_of(winner.trial.report),
            "mlflow_run": result.run_id,
        },
    }


def evidence_of(report: EvalReport) -> dict[str, Any]:
    """What an evaluation proves, in numbers."""
    head = report.header
    return {
        "golden": head.golden,
        "golden_digest": head.golden_digest,
        "split": head.split,
        "split_digest": head.split_digest,
        "cases": len(report.rows),
        "errors": len(report.errors),
        "metrics": {
            name: {"mean": interval.mean, "low": interval.low, "high": interval.high, "scored": interval.count}
            for name, interval in report.summary.items()
        },
        "usd_per_query": report.costs.get("usd"),
        "money": "simulated" if report.simulated else "billed",
    }


def newest_winner(reports: Path) -> Path:
    """The winner of the newest sweep."""
    found = sorted(reports.glob(f"sweeps/*/{WINNER}"), key=lambda path: (path.stat().st_mtime, str(path)))
    if not found:
        raise DataError(f"No sweep has a winner in {reports / 'sweeps'} yet. Run: touchstone sweep experiments/quickstart.yaml")
    return found[-1]


def read_winner(path: Path) -> Mapping[str, Any]:
    """A sweep's winner, checked for what promotion needs."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"No file {str(path)!r}. A sweep writes one: reports/sweeps/<name>/{WINNER}") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not a winner: {error}") from None
    if not isinstance(document, dict) or not {"config", "config_digest", "corpus", "evidence"} <= document.keys():
        raise DataError(f"{path}: not a winner; it needs config, config_digest, corpus and evidence.")
    return document


def write_winner(result: SweepResult, corpus: str, folder: Path) -> Path:
    """Put a sweep's winner where promotion finds it, and its configuration where a gate does."""
    path = folder / WINNER
    config = result.winner.trial.config.complete().model_dump(mode="json")
    write_text(path.with_suffix(".yaml"), yaml.safe_dump(config, sort_keys=False, allow_unicode=True))
    write_text(path, json.dumps(winner_document(result, corpus), indent=2, ensure_ascii=False))
    return path
