import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.support.world import REPOSITORY, World

pytestmark = pytest.mark.slow


def test_the_project_file_is_the_one_that_mlflow_looks_for() -> None:
    assert (REPOSITORY / "MLproject").resolve() == REPOSITORY / "mlproject.yml"
    project = yaml.safe_load((REPOSITORY / "MLproject").read_text())
    assert {"sweep", "index", "evaluate", "promote", "serve", "report"} <= project["entry_points"].keys()
    assert (REPOSITORY / project["python_env"]).exists()


@pytest.mark.slow
@pytest.mark.usefixtures("tracked")
def test_mlflow_run_is_the_same_sweep_as_a_parent_and_its_children(world: World) -> None:
    store = f"sqlite:///{world.root}/.touchstone/mlflow/mlflow.db"
    assert world.touchstone("doctor").code in (0, 3)  # as `make demo` does first
    places = {"TOUCHSTONE_DATASETS": "datasets", "TOUCHSTONE_HOME": ".touchstone", "TOUCHSTONE_REPORTS": "reports"}
    environment = os.environ | {name: str(world.root / place) for name, place in places.items()}
    environment |= {
        "MLFLOW_TRACKING_URI": store,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    command = [sys.executable, "-m", "mlflow", "run", str(REPOSITORY), "-e", "sweep", "--env-manager", "local"]
    command += ["--experiment-name", "touchstone", "-P", f"experiment={world.root / 'small.yaml'}"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, cwd=world.root)
    assert done.returncode == 0, done.stderr[-3000:]

    from mlflow import MlflowClient

    client = MlflowClient(store)
    experiment = client.get_experiment_by_name("touchstone")
    runs = client.search_runs([experiment.experiment_id])
    [parent] = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    assert parent.info.status == "FINISHED"
    assert parent.data.tags["touchstone.verdict"] in ("better", "equivalent", "worse", "undecided")
    assert parent.data.params["experiment"].endswith("small.yaml")
    assert len(runs) == 1 + 3 + 2
    assert all(run.info.status == "FINISHED" for run in runs)
