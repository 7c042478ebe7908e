"""The one door to the package ragas: quiet, and with one message where it is not installed."""

import os
from importlib import import_module
from typing import Any

from serving.pipeline.errors import ConfigError
from serving.pipeline.packages import install_command


def load(module: str) -> Any:
    """A module of ragas, which tells nobody that it is used and leaves nothing behind."""
    os.environ.setdefault("RAGAS_DO_NOT_TRACK", "true")  # it looks at this when it is imported, so it cannot be a setting of ours
    try:
        import_module("ragas._analytics").user_data_dir = _nowhere  # type: ignore[attr-defined]  # replaces a function of the module
        return import_module(module)
    except ImportError as error:
        raise ConfigError(f"ragas' metrics need the package ragas ({error}). Install it: {install_command('ragas')}") from error


def _nowhere(appname: str) -> str:
    """A folder that cannot be made: even untracked, ragas would write the user an id into their home."""
    return f"{os.devnull}/{appname}"
