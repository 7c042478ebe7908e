"""From a winner to a release: what was proven, with its evidence, under the digest it was proven with."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.evaluation.factory import PipelineFactory
from serving.pipeline.config import RagConfig
from serving.pipeline.errors import DataError
from serving.release.bundle import Channel, Release, point_channel, write_release


@dataclass(frozen=True, slots=True)
class Promotion:
    """A release and the channel that points at it now."""

    release: Release
    channel: Channel


async def promote(winner: Mapping[str, Any], factory: PipelineFactory, *, root: Path, channel: str, git_commit: str) -> Promotion:
    """Write the release of a winner and point a channel at it; refuses when code, prompts or documents changed since the proof."""
    config = RagConfig.parse(winner["config"], source="winner")
    digest = factory.digest(config)
    if digest != winner["config_digest"]:
        what = "The documents, the prompts or the code behind a plug-in changed since."
        raise DataError(f"What was proven ({winner['config_digest']}) is no longer what would ship ({digest}). {what} Sweep again.")
    index = await factory.index(config)
    evidence = {**winner["evidence"], "git_commit": git_commit}
    release = write_release(root, config, factory.prompts, index.manifest, evidence)
    return Promotion(release, point_channel(root, channel, release.digest))
