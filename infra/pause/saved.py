"""What outlives the cluster in S3: which release each channel names, and which images ran."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from infra.pause.commands import Commands

PAUSED = "paused.json"

Images = Mapping[str, Mapping[str, Mapping[str, str]]]  # by namespace, workload and container


@dataclass(frozen=True)
class SavedState:
    """The buckets of state and of releases."""

    names: Mapping[str, Any]
    commands: Commands

    def read(self, uri: str) -> str:
        """An object of S3, or nothing."""
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        listed = self.commands.ask(
            "aws", "s3api", "list-objects-v2", "--bucket", bucket, "--prefix", key, "--query", "Contents[].Key", "--output", "json"
        )
        return self.commands.ask("aws", "s3", "cp", uri, "-") if key in (json.loads(listed or "null") or []) else ""

    def release_of(self, channel: str) -> str:
        """The release that a channel names; empty for none."""
        said = self.read(f"s3://{self.names['buckets']['releases']}/releases/channels/{channel}.json")
        return str(json.loads(said)["stable"]) if said else ""

    def write_down(self, images: Images) -> None:
        """Keep which image every workload runs, beside those of channels that are not there: a pause before this one wrote them."""
        if images:
            self._write({**self.written_down(), **images})
            self.commands.say(f"which images run is written to {self._paused}")

    def written_down(self) -> Images:
        """What pauses wrote, of channels that have not been brought back since."""
        said = self.read(self._paused)
        return dict(json.loads(said)) if said else {}

    def forget(self, namespace: str) -> None:
        """A channel runs its images again: what runs from now on is newer than what is written."""
        images = dict(self.written_down())
        if images.pop(namespace, None):
            self._write(images)

    def _write(self, images: Images) -> None:
        self.commands.change("aws", "s3", "cp", "-", self._paused, given=json.dumps(images, indent=2))

    @property
    def _paused(self) -> str:
        return f"s3://{self.names['state_bucket']}/{PAUSED}"
