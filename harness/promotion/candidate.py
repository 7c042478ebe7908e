"""What can be promoted: a sweep's winner, or any configuration that a gate was held on."""

from dataclasses import dataclass
from pathlib import Path

from harness.sweep.winner import newest_winner, read_winner
from serving.pipeline.config import RagConfig, load_config
from serving.release.evidence import MeasuredSplit, RecordedVerdict


@dataclass(frozen=True, slots=True)
class Promotable:
    """A configuration with what is known of it before its gate's decision is looked at."""

    config: RagConfig
    corpus: str
    source: str  # where it comes from
    config_file: str  # what a gate is given to decide on it
    config_digest: str = ""  # what it hashed to when it was proven; "": nothing but a gate has proven it
    measured: tuple[MeasuredSplit, ...] = ()
    verdict: RecordedVerdict | None = None
    mlflow_run: str = ""


def read_candidate(path: Path | None, corpus: str, reports: Path) -> Promotable:
    """A configuration's file with its corpus, a sweep's winner.json, or (for `None`) the newest sweep's."""
    if path is not None and path.suffix in (".yaml", ".yml"):
        return Promotable(load_config(path), corpus, str(path), str(path))
    file = path or newest_winner(reports)
    winner = read_winner(file)
    return Promotable(
        config=RagConfig.parse(winner.config, source=str(file)),
        corpus=winner.corpus,
        source=str(file),
        config_file=str(file.with_suffix(".yaml")),
        config_digest=winner.config_digest,
        measured=winner.measured,
        verdict=winner.verdict,
        mlflow_run=winner.mlflow_run,
    )
