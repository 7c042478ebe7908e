"""What is installed, reachable and configured, and what each missing part would give."""

import asyncio
import importlib.metadata
import importlib.util
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.settings import HarnessSettings
from serving.pipeline.errors import TouchstoneError
from serving.pipeline.packages import install_command
from serving.pipeline.redact import without_password
from serving.pipeline.redis.address import RedisAddress

State = Literal["ok", "missing", "failed"]
ROOM = 50_000_000  # bytes below which the next index or report may find no room


@dataclass(frozen=True, slots=True)
class PartStatus:
    """One part, its state, and what it is good for."""

    part: str
    state: State
    detail: str
    gives: str
    needed: bool  # False: everything else works without it


PACKAGES = {  # module: (extra, what it gives, needed)
    "lancedb": ("", "the index: vectors and full text", True),
    "onnxruntime": ("", "local embeddings", True),
    "mlflow": ("harness", "tracking, `mlflow run`, the UI", True),
    "optuna": ("harness", "sweeps", True),
    "fastapi": ("serve", "the query API", True),
    "boto3": ("bedrock", "Bedrock models, S3", False),
    "langchain_aws": ("bedrock", "Nova and Claude on Bedrock by name", False),
    "langchain": ("providers", "every other provider that LangChain knows", False),
}


def check_parts(settings: HarnessSettings) -> Iterator[PartStatus]:
    """Look at every part, one after the other; nothing here raises."""
    yield PartStatus("python", "ok", sys.version.split()[0], "", needed=True)
    for module, (extra, gives, needed) in PACKAGES.items():
        yield _package(module, extra, gives, needed=needed)
    yield _try("MiniLM weights", lambda: _minilm(settings), "the default embedder and local:reader-pro", needed=True)
    yield _try("home", lambda: _home(settings.home), "where indexes and runs are kept", needed=True)
    yield _try("golden sets", lambda: _golden(settings.datasets), "what configurations are scored on", needed=False)
    yield _try("prompts", lambda: _prompts(settings.prompts), "the prompts of models and judges", needed=True)
    yield _try("MLflow", lambda: _mlflow(settings), "runs to compare; or use --no-tracking", needed=False)
    yield _aws()
    yield _endpoint("Bedrock", settings.bedrock_endpoint, "hosted models instead of the local readers")
    yield _endpoint("S3", settings.s3_endpoint, "indexes that many pods share")
    yield _redis(settings)


def _redis(settings: HarnessSettings) -> PartStatus:
    part, gives = "Redis", "answers, limits and budgets that processes share"
    if not settings.redis:
        return PartStatus(
            part, "missing", "TOUCHSTONE_REDIS is not set: each process has a cache, limits and budgets of its own", gives, needed=False
        )
    if importlib.util.find_spec("redis") is None:
        return PartStatus(part, "missing", f"install it: {install_command('redis')}", gives, needed=False)
    from serving.pipeline.redis.check import check_redis

    return _try(part, lambda: asyncio.run(check_redis(RedisAddress.of(settings))), gives, needed=False)


def _package(module: str, extra: str, gives: str, *, needed: bool) -> PartStatus:
    if importlib.util.find_spec(module) is None:
        return PartStatus(module, "missing", f"install it: {install_command(extra)}", gives, needed)
    return PartStatus(module, "ok", importlib.metadata.version(module.replace("_", "-")), gives, needed)


def _try(part: str, look: Callable[[], str], gives: str, *, needed: bool) -> PartStatus:
    try:
        return PartStatus(part, "ok", without_password(look()), gives, needed)
    except (TouchstoneError, OSError) as error:
        return PartStatus(part, "failed", without_password(str(error)), gives, needed)


def _minilm(settings: HarnessSettings) -> str:
    from serving.pipeline.models.connect import connect_embeddings
    from serving.pipeline.registry import Spec

    vector = connect_embeddings(Spec(name="local:minilm"), settings).embed_query("ready?")
    return f"{len(vector)} dimensions"


def _home(home: Path) -> str:
    home.mkdir(parents=True, exist_ok=True)
    if not os.access(home, os.W_OK):
        raise OSError(f"{home} cannot be written to; set TOUCHSTONE_HOME to a folder that can.")
    if (free := shutil.disk_usage(home).free) < ROOM:
        raise OSError(f"{home.absolute()} has {free / 1e6:.0f} MB left; make room, or set TOUCHSTONE_HOME to a folder on another disk.")
    return f"{home.absolute()}, {free / 1e9:.1f} GB free"


def _golden(datasets: Path) -> str:
    from harness.golden.load import golden_sets, load_golden

    sets = [load_golden(datasets, name) for name in golden_sets(datasets)]
    return ", ".join(f"{golden.id} ({len(golden.cases)} cases)" for golden in sets) or f"none in {datasets / 'golden'}"


def _prompts(folder: Path) -> str:
    from serving.pipeline.prompts import PromptLibrary

    library = PromptLibrary(folder)
    return ", ".join(f"{name} v{library.versions(name)[-1]}" for name in library.names())


def _mlflow(settings: HarnessSettings) -> str:
    from harness.tracking.mlflow import MlflowTracker

    return f"{MlflowTracker(settings).place}, experiment {settings.mlflow_experiment!r}"


def _aws() -> PartStatus:
    gives = "Bedrock, S3"
    if importlib.util.find_spec("boto3") is None:
        return PartStatus("AWS credentials", "missing", "boto3 is not installed", gives, needed=False)
    import boto3
    from botocore.exceptions import BotoCoreError

    os.environ.setdefault("AWS_EC2_METADATA_DISABLED", "true")  # a laptop has no metadata service; asking for it takes seconds
    try:
        found = boto3.Session().get_credentials()
    except BotoCoreError as error:
        return PartStatus("AWS credentials", "failed", str(error), gives, needed=False)
    if found is None:
        return PartStatus("AWS credentials", "missing", "none found; run `aws configure` or set AWS_PROFILE", gives, needed=False)
    return PartStatus("AWS credentials", "ok", f"found by {found.method}", gives, needed=False)


def _endpoint(part: str, url: str, gives: str) -> PartStatus:
    if not url:
        return PartStatus(f"{part} endpoint", "ok", "AWS's own", gives, needed=False)
    import socket
    from urllib.parse import urlsplit

    place, parts = without_password(url), urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return PartStatus(f"{part} endpoint", "failed", f"{place!r} is no http:// or https:// address", gives, needed=False)
    try:
        with socket.create_connection((parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)), timeout=3):
            return PartStatus(f"{part} endpoint", "ok", f"{place} answers", gives, needed=False)
    except (OSError, ValueError) as error:  # ValueError: a port that is none
        return PartStatus(f"{part} endpoint", "failed", f"{place} does not answer: {error}", gives, needed=False)
