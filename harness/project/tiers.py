"""Evaluates each tier alone on the tune questions of a golden set: the labels of a router."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.project.evaluate import EvaluationOptions, unused_name
from harness.project.project import Project
from serving.pipeline.errors import ConfigError

ALONE = {"route.escalate.name": "none", "cache.lookup.name": "none"}  # one tier answers, once, without a cache
CHEAP_AND_DEAR = ("lite", "pro")


async def evaluate_tiers(project: Project, golden: str, tiers: Sequence[str] = CHEAP_AND_DEAR, what: object = None) -> list[Path]:
    """Evaluate each tier alone on the tune split, the cheap one first; the files of both evaluations."""
    if len(tiers) != 2:
        raise ConfigError(f"Two tiers are compared, the cheap one first, not {', '.join(tiers) or 'none'}. Calibrate step by step.")
    files = []
    for tier in tiers:
        config = project.config(what, {**ALONE, "route.router.name": "always", "route.router.tier": tier})
        stem = f"tier-{tier}-{project.golden(golden).card.name}-{datetime.now(UTC):%Y%m%d-%H%M%S}"
        options, name = EvaluationOptions(), unused_name(project.settings, "runs", stem)
        done = await project.finished_evaluation(config, golden, "tune", options, name=name)
        assert done.cases is not None
        files.append(done.cases)
    return files


def tiers_of(params: dict[str, Any]) -> Sequence[str]:
    """The tiers that a calibration names, or the two of the default configuration."""
    return tuple(params.get("tiers") or CHEAP_AND_DEAR)
