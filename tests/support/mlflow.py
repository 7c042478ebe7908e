"""MLflow's database, there already: MLflow takes seconds to make one, and a copy is made in no time."""

import os
import shutil
from pathlib import Path

import pytest

from harness.settings import HarnessSettings
from harness.tracking.mlflow import connected_client
from tests.support.world import World


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all processes of a run."""
    own = tmp_path_factory.getbasetemp()
    home = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "home-of-mlflow"
    connected_client(HarnessSettings(home=home, MLFLOW_TRACKING_URI="", _env_file=None))
    return home / "mlflow" / "mlflow.db"


@pytest.fixture
def tracked(world: World, empty_database: Path) -> World:
    """The small company, in which MLflow's database is made already."""
    copy_database(empty_database, world.root / ".touchstone")
    return world


def copy_database(database: Path, home: Path) -> None:
    """Give a home an empty database of its own."""
    (home / "mlflow").mkdir(parents=True)
    shutil.copy(database, home / "mlflow" / "mlflow.db")
