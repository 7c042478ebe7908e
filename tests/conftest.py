"""What every test starts from: none of the settings of the shell that runs it."""

import os
import signal
import sys
from collections.abc import Iterator

import pytest

from tests.support.world import world

__all__ = ["world"]

NAMED_OTHERWISE = ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_NAME", "GITHUB_STEP_SUMMARY")


def pytest_configure(config: pytest.Config) -> None:
    """Forget the places and servers that the shell (or the Makefile) names, and that a shell's background jobs hear no Ctrl-C."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in list(os.environ):
        if name.startswith("TOUCHSTONE_") or name in NAMED_OTHERWISE:
            del os.environ[name]


@pytest.fixture(autouse=True)
def import_path() -> Iterator[None]:
    """Forget the folders that commands and projects looked for modules in."""
    before = list(sys.path)
    yield
    sys.path[:] = before
