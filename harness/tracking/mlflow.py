"""The MLflow tracker, and how a run is found again."""

import asyncio
import json
import logging
import os
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.golden.sets import Split
from harness.settings import HarnessSettings
from harness.tracking.base import Run
from serving.pipeline.errors import ConfigError, TrackingError
from serving.pipeline.redact import without_password
from serving.storage.lock import file_lock

_BATCH = 100  # MLflow's own limit of parameters per request
_METRICS = 1000  # and of metrics
DATASET_TRIES = 3  # of two processes that log a new dataset at once MLflow refuses one; the next time it finds the dataset there
MOST_CHARACTERS = 400  # of what MLflow says of a failure
AUTOFLUSH = "(raised as a result of Query-invoked autoflush"  # what SQLAlchemy says before what happened
SERVERS = ("http", "https", "databricks")
DRIVERS = {"psycopg": "psycopg[binary]", "psycopg2": "psycopg2-binary", "MySQLdb": "mysqlclient"}  # module: package


class MlflowTracker:
    """Logs to the tracking server, or the sqlite file, that the settings name."""

    def __init__(self, settings: HarnessSettings) -> None:
        self._uri = settings.tracking_uri
        self._run_id = settings.mlflow_run_id
        check_address(self._uri)
        with as_tracking_error(self._uri):
            client = connected_client(settings)
            self._experiment_id = experiment_id(client, settings)
        self._client = client
        self.place = without_password(self._uri)

    @contextmanager
    def run(self, name: str, resume_id: str = "") -> Iterator[Run]:
        """Open a run, or go on with the one that `mlflow run` has opened for this process, or with one of an earlier process."""
        opened_for_us = bool(self._run_id)
        with as_tracking_error(self._uri):
            if opened_for_us:
                run_id, experiment = self._run_id, self._client.get_run(self._run_id).info.experiment_id
                self._client.update_run(run_id, name=name)
            elif resume_id:
                run_id, experiment = resume_id, self._client.get_run(resume_id).info.experiment_id
                self._client.update_run(run_id, status="RUNNING")
            else:
                experiment = self._experiment_id
                run_id = self._client.create_run(experiment, run_name=name).info.run_id
        run = MlflowRun(self._client, self._uri, experiment, run_id)
        with run.ending(leave_open=opened_for_us):
            yield run


class MlflowRun:
    """One MLflow run."""

    def __init__(self, client: Any, uri: str, experiment_id: str, run_id: str) -> None:
        self._client, self._uri, self._experiment_id, self.id = client, uri, experiment_id, run_id
        self.url = f"#/experiments/{experiment_id}/runs/{run_id}"

    def params(self, values: Mapping[str, Any]) -> None:
        """Log parameters, in batches as MLflow takes them."""
        from mlflow.entities import Param

        params = [Param(key, str(value)) for key, value in values.items()]
        with as_tracking_error(self._uri):
            for start in range(0, len(params), _BATCH):
                self._client.log_batch(self.id, params=params[start : start + _BATCH])

    def metrics(self, values: Mapping[str, float | None]) -> None:
        """Log numbers; MLflow's names take no "@", so recall@5 becomes recall_at_5."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [Metric(metric_name(name), value, now, 0) for name, value in values.items() if value is not None]
        with as_tracking_error(self._uri):
            self._client.log_batch(self.id, metrics=metrics)

    def history(self, name: str, values: Sequence[float | None]) -> None:
        """Log a number step by step, in batches as MLflow takes them."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [Metric(metric_name(name), value, now, step) for step, value in enumerate(values) if value is not None]
        with as_tracking_error(self._uri):
            for start in range(0, len(metrics), _METRICS):
                self._client.log_batch(self.id, metrics=metrics[start : start + _METRICS])

    def tags(self, values: Mapping[str, str]) -> None:
        """Log tags."""
        from mlflow.entities import RunTag

        with as_tracking_error(self._uri):
            self._client.log_batch(self.id, tags=[RunTag(key, value) for key, value in values.items()])

    def dataset(self, split: Split) -> None:
        """Log the split as the run's dataset, by name and digest."""
        from mlflow.entities import Dataset, DatasetInput, InputTag
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        data = Dataset(
            name=f"{split.golden}:{split.name}",
            digest=split.digest,
            source_type="local",
            source=f'{{"uri": "datasets/golden/{split.golden}/cases.jsonl"}}',
            profile=f'{{"num_rows": {len(split.cases)}}}',
        )
        with as_tracking_error(self._uri):
            for left in range(DATASET_TRIES - 1, -1, -1):
                try:
                    self._client.log_inputs(self.id, [DatasetInput(data, [InputTag("mlflow.data.context", split.name)])])
                    return
                except (MlflowException, SQLAlchemyError):
                    if not left:
                        raise

    def table(self, name: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Log a table that the UI shows under the run's artifacts, in the form that MLflow's own `log_table` writes."""
        all_rows = list(rows)
        columns = list(all_rows[0]) if all_rows else []
        self.text(
            name, json.dumps({"columns": columns, "data": [[row[column] for column in columns] for row in all_rows]}, ensure_ascii=False)
        )
        self.tags({"mlflow.loggedArtifacts": json.dumps([{"path": name, "type": "table"}])})

    def text(self, name: str, content: str) -> None:
        """Log a file."""
        with as_tracking_error(self._uri):
            self._client.log_text(self.id, content, name)

    @contextmanager
    def child(self, name: str) -> Iterator[Run]:
        """Open a run below this one."""
        with as_tracking_error(self._uri):
            tags = {"mlflow.parentRunId": self.id}
            run_id = self._client.create_run(self._experiment_id, run_name=name, tags=tags).info.run_id
        run = MlflowRun(self._client, self._uri, self._experiment_id, run_id)
        with run.ending():
            yield run

    def forget(self, keep: Collection[str]) -> None:
        """Delete the runs below this one that are not to be kept."""
        with as_tracking_error(self._uri):
            children = self._client.search_runs([self._experiment_id], f"tags.`mlflow.parentRunId` = '{self.id}'", max_results=50_000)
            for child in children:
                if child.info.run_id not in keep:
                    self._client.delete_run(child.info.run_id)

    @contextmanager
    def ending(self, *, leave_open: bool = False) -> Iterator[None]:
        """End the run with the block: finished, killed by the keyboard, or failed."""
        try:
            yield
        except BaseException as error:
            killed = isinstance(error, KeyboardInterrupt | asyncio.CancelledError)  # inside a loop Ctrl-C comes as the latter
            status = "KILLED" if killed else "FAILED"
            self._end(status)
            raise
        if not leave_open:  # `mlflow run` ends the run that it has opened
            self._end("FINISHED")

    def _end(self, status: str) -> None:
        with as_tracking_error(self._uri):
            self._client.set_terminated(self.id, status)


def metric_name(name: str) -> str:
    """A metric's name as MLflow and its search language take it."""
    return name.replace("@", "_at_")


def quiet_environment(settings: HarnessSettings) -> None:
    """Set what MLflow only reads from the environment: no telemetry, few retries, no job runner."""
    for name, value in {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": str(settings.mlflow_timeout_s),
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_UV_AUTO_DETECT": "false",  # a model's requirements are given, not those of the folder a command runs in
        "DO_NOT_TRACK": "true",
    }.items():
        os.environ.setdefault(name, value)


def connected_client(settings: HarnessSettings) -> Any:
    """MLflow's own client, on a database that is made where it is missing."""
    quiet_environment(settings)
    from mlflow import MlflowClient

    for name in ("mlflow", "alembic"):  # what fails is raised as well, and told in a line
        logging.getLogger(name).setLevel(logging.CRITICAL)
    if settings.tracking_uri.startswith("sqlite:///"):
        _create_database(Path(settings.tracking_uri.removeprefix("sqlite:///")))
    return MlflowClient(settings.tracking_uri)


def _create_database(path: Path) -> None:
    """Create MLflow's database where there is none: under a lock and by a rename, since MLflow cannot use half of one."""
    from mlflow import MlflowClient

    path.parent.mkdir(parents=True, exist_ok=True)
    with file_lock(path.with_name(f".{path.name}.lock")):
        if path.exists():
            return
        new = path.with_name(f".{path.name}.new")
        for leftover in path.parent.glob(f"{new.name}*"):
            leftover.unlink()
        MlflowClient(f"sqlite:///{new}").search_experiments(max_results=1)
        new.replace(path)


def experiment_id(client: Any, settings: HarnessSettings) -> str:
    """The id of our experiment; made when missing, with its artifacts beside a sqlite store."""
    from mlflow.exceptions import MlflowException

    name = settings.mlflow_experiment
    if experiment := client.get_experiment_by_name(name):
        return str(experiment.experiment_id)
    local = settings.tracking_uri.startswith("sqlite:")
    artifacts = (settings.home / "mlflow" / "artifacts").absolute().as_uri() if local else None
    try:
        return str(client.create_experiment(name, artifact_location=artifacts))
    except MlflowException:  # another process was faster
        return str(client.get_experiment_by_name(name).experiment_id)


def check_address(uri: str) -> None:
    """A `ConfigError` where MLflow keeps nothing at such an address."""
    from mlflow.store.db.db_types import DATABASE_ENGINES

    scheme, colon, rest = uri.partition("://")
    known = (*SERVERS, *DATABASE_ENGINES)
    kind = uri if uri == "databricks" else scheme if colon and rest else ""
    if kind.partition("+")[0] not in known:
        places = ", ".join(f"{name}://…" for name in known)
        raise ConfigError(
            f"TOUCHSTONE_MLFLOW_URI (or MLFLOW_TRACKING_URI) {without_password(uri)!r} is no address of MLflow. Write one of {places}, "
            "such as http://127.0.0.1:5000 or sqlite:////home/me/mlflow.db; leave it out for a database below TOUCHSTONE_HOME."
        )


@contextmanager
def as_tracking_error(uri: str, context: str = "") -> Iterator[None]:
    """Turn MLflow's and the network's exceptions into a `TrackingError` that names the place and the mend, after a `context`."""
    import requests
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    place = without_password(uri)
    try:
        yield
    except ModuleNotFoundError as error:
        if not error.name or error.name.partition(".")[0] in ("mlflow", "sqlalchemy"):
            raise
        package = DRIVERS.get(error.name, error.name)
        raise ConfigError(f"MLflow at {place} needs the driver {error.name!r}. Run: pip install '{package}'") from None
    except (MlflowException, requests.RequestException, SQLAlchemyError, OSError) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip() and not line.startswith(AUTOFLUSH)]
        first = without_password(lines[0] if lines else type(error).__name__)
        first = first if len(first) <= MOST_CHARACTERS else f"{first[:MOST_CHARACTERS].rpartition(' ')[0]} …"
        end = "" if first.endswith((".", "!", "?", "…")) else "."
        mend = "Is there room on its disk?" if uri.startswith("sqlite:") else "Is TOUCHSTONE_MLFLOW_URI right?"
        raise TrackingError(f"{context}MLflow at {place} failed: {first}{end} {mend} See: touchstone doctor") from error
