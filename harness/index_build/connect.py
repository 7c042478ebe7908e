"""Finds the workers of an engine, whose package may not be installed."""

import importlib
from contextlib import AbstractAsyncContextManager

from harness.index_build.context import Workers
from serving.pipeline.errors import ConfigError


def connect_workers(address: str, workers: int) -> AbstractAsyncContextManager[Workers]:
    """The workers of the Ray cluster at an address, or of this machine; they are connected to when they are needed."""
    try:
        found: AbstractAsyncContextManager[Workers] = importlib.import_module("harness.index_build.ray").RayWorkers(address, workers)
    except ImportError as error:
        raise ConfigError(f"--engine ray needs a package that is not installed ({error.name}). Run: uv sync --extra ray") from None
    return found
