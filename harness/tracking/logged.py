"""A run that was logged before, found again by its id or its name."""

import re
import tempfile
from pathlib import Path
from typing import Any

from harness.settings import HarnessSettings
from harness.tracking.base import LoggedRun
from serving.pipeline.errors import ConfigError

FILES = ("config.yaml", "winner.json")
RUN_ID = re.compile(r"[0-9a-f]{32}")
MOST_LISTED = 5


def find_run(word: str, settings: HarnessSettings) -> LoggedRun:
    """The run of this id, or of this name in our experiment; a `ConfigError` where there is none, or where several have the name."""
    if _nothing_logged(settings):
        raise ConfigError(f"{word!r} names nothing that could be promoted, and no run was logged yet.")
    from harness.tracking.mlflow import as_tracking_error, check_address, connected_client

    check_address(settings.tracking_uri)
    with as_tracking_error(settings.tracking_uri, f"{word!r} is nothing on this machine that could be promoted, and "):
        client = connected_client(settings)
        run = _by_id(client, word) if RUN_ID.fullmatch(word) else None
        found = [run] if run is not None else _by_name(client, word, settings)
    where = f"MLflow at {settings.shown_tracking_uri}"
    if not found:
        raise ConfigError(f"{word!r} names nothing that could be promoted, and no run in {where} is called so, by id or by name.")
    if len(found) > 1:
        listed = ", ".join(one.info.run_id for one in found[:MOST_LISTED]) + (", …" if len(found) > MOST_LISTED else "")
        raise ConfigError(f"{len(found)} runs in {where} are named {word!r}: {listed}. Write the id of one.")
    with as_tracking_error(settings.tracking_uri), tempfile.TemporaryDirectory() as folder:
        info = found[0].info
        there = {file.path for file in client.list_artifacts(info.run_id)}
        texts = {
            name: Path(client.download_artifacts(info.run_id, name, folder)).read_text(encoding="utf-8") for name in FILES if name in there
        }
    return LoggedRun(info.run_id, info.run_name, dict(found[0].data.tags), *(texts.get(name, "") for name in FILES))


def _nothing_logged(settings: HarnessSettings) -> bool:
    """Whether the database of this machine is not there yet, so that it need not be made only to look into it."""
    path = settings.tracking_uri.removeprefix("sqlite:///")
    return path != settings.tracking_uri and not Path(path).exists()


def _by_id(client: Any, ident: str) -> Any:
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, ErrorCode

    try:
        run = client.get_run(ident)
    except MlflowException as error:
        if error.error_code == ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
            return None
        raise
    return run if run.info.lifecycle_stage == "active" else None


def _by_name(client: Any, name: str, settings: HarnessSettings) -> list[Any]:
    quote = next((mark for mark in "'\"" if mark not in name), "")
    experiment = client.get_experiment_by_name(settings.mlflow_experiment)
    if experiment is None or not quote:
        return []
    return list(client.search_runs([experiment.experiment_id], f"attributes.run_name = {quote}{name}{quote}"))
