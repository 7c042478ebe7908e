"""What every test starts from: none of the settings of the shell that runs it."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.again import pytest_sessionfinish
from tests.support.aws import read_descriptions_once
from tests.support.mlflow import empty_database, tracked
from tests.support.world import world

__all__ = ["empty_database", "pytest_sessionfinish", "tracked", "world"]

HERE = Path(__file__).parent
# Files that take long, the longest first: each file is one process's, and what comes last must be short, or that process ends long after
# the others.
FIRST = (
    "sweep/test_resume.py",
    "infra/test_rights.py",
    "sweep/test_engines.py",
    "app/whole/test_soak.py",
    "text/test_patterns.py",
    "tracking/test_registry.py",
    "infra/test_network.py",
    "tracking/test_mlproject.py",
    "app/whole/test_replicas.py",
    "app/whole/test_schemathesis.py",
    "index_build/test_ray.py",
    "tracking/test_tracking.py",
    "verdict/test_verdict.py",
    "core/test_costs.py",
    "infra/test_observability.py",
    "gate/test_gate_pytest.py",
    "release/test_release.py",
    "infra/test_deploy_page.py",
    "test_imports.py",
)
NAMED_OTHERWISE = ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_NAME", "GITHUB_STEP_SUMMARY")


def pytest_configure(config: pytest.Config) -> None:
    """Forget the places and servers that the shell (or the Makefile) names, and that a shell's background jobs hear no Ctrl-C.

    What is the same in every test, and slow to read, is read once.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    read_descriptions_once()
    for name in list(os.environ):
        if name.startswith("TOUCHSTONE_") or name in NAMED_OTHERWISE:
            del os.environ[name]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files that take long first."""
    places = {HERE / name: place for place, name in enumerate(FIRST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


@pytest.fixture(autouse=True)
def import_path() -> Iterator[None]:
    """Forget the folders that commands and projects looked for modules in."""
    before = list(sys.path)
    yield
    sys.path[:] = before
