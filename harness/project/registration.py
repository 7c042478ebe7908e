"""Releases in MLflow's registry: a promotion registers its release; what failed then can be registered later."""

from collections.abc import Sequence
from dataclasses import dataclass

from harness.settings import HarnessSettings
from harness.tracking.registry import RegisteredRelease, follow_channels, register_release
from serving.pipeline.errors import ConfigError, TouchstoneError
from serving.release.bundle import load_release, open_releases
from serving.release.channel import CHANNELS, Channel, find_channel
from serving.storage.base import Storage

OFF = "nothing is registered: TOUCHSTONE_MLFLOW_MODEL is empty"


@dataclass(frozen=True, slots=True)
class Registration:
    """The result of registering a release: where it is, or why it is not registered."""

    release: RegisteredRelease | None
    problem: str = ""

    @property
    def words(self) -> str:
        """A line for people."""
        return self.release.words if self.release else self.problem


def register(digest: str, settings: HarnessSettings) -> RegisteredRelease:
    """Register a release; raises where that fails."""
    if not settings.mlflow_model:
        raise ConfigError(f"{OFF[0].upper()}{OFF[1:]}. Name the registered model there.")
    storage = open_releases(settings.releases, settings)
    return register_release(load_release(storage, digest), storage, settings, _channels(storage))


def register_promoted(digest: str, settings: HarnessSettings) -> Registration:
    """Register a promoted release; it stays promoted where that fails."""
    if not settings.mlflow_model:
        return Registration(None, OFF)
    try:
        return Registration(register(digest, settings))
    except TouchstoneError as error:
        return Registration(None, f"not registered: {error} Make up for it: touchstone release register {digest}")


def follow(settings: HarnessSettings) -> str:
    """Point the registry's aliases at the channels' releases; returns why that failed, or nothing."""
    if not settings.mlflow_model:
        return ""
    try:
        follow_channels(settings, _channels(open_releases(settings.releases, settings)))
    except TouchstoneError as error:
        return f"MLflow's aliases did not follow: {error} Make up for it: touchstone release register"
    return ""


def _channels(storage: Storage) -> Sequence[Channel]:
    return [channel for name in CHANNELS if (channel := find_channel(storage, name))]
