"""A build by the workers of a Ray cluster: the same index, whoever is killed in the middle."""

import asyncio
import importlib.util
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import boto3
import pytest

from harness.index_build.connect import connect_workers
from harness.index_build.state import building_storage
from harness.settings import HarnessSettings
from serving.pipeline.config import RagConfig
from tests.index_build.making import assert_same, build_alone, build_here, write_corpus
from tests.support.s3 import KEYS, s3_server
from tests.support.world import World

__all__ = ["s3_server"]

pytestmark = [pytest.mark.slow, pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed")]

PATIENCE_S = 120.0
REPOSITORY = Path(__file__).parents[2]
DRIVER = """
import asyncio, sys, time
from pathlib import Path
from harness.index_build.connect import connect_workers
from harness.settings import HarnessSettings
from tests.index_build.making import build_here

def stand_still(what, done, total):
    if what.startswith("embedding") and 0 < done < total:
        time.sleep(3600)  # until it is killed

settings = HarnessSettings(home=Path(sys.argv[2]))
asyncio.run(build_here(sys.argv[1], settings, connect_workers(sys.argv[3], 2), progress=stand_still))
"""


@pytest.fixture(scope="module")
def cluster(s3_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Ray cluster of two cores, whose workers have the keys of a bucket in their environment."""
    from harness import ray as connection

    with pytest.MonkeyPatch.context() as patch:
        for name, value in (KEYS | {"TOUCHSTONE_S3_ENDPOINT": s3_server}).items():
            patch.setenv(name, value)
        patch.chdir(tmp_path_factory.mktemp("cluster"))
        patch.setenv("PYTHONPATH", str(REPOSITORY))
        started = connection.RayConnection("")
        started.open(2)
        yield str(connection.ray.get_runtime_context().gcs_address)
        started.close()


@pytest.fixture
def keys(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same keys here."""
    for name, value in (KEYS | {"TOUCHSTONE_S3_ENDPOINT": s3_server}).items():
        monkeypatch.setenv(name, value)


async def test_ray_builds_the_index_that_one_process_builds(cluster: str, keys: None, tmp_path: Path) -> None:
    corpus, settings = write_corpus(tmp_path / "acme"), HarnessSettings(home=tmp_path / "home")
    built = await build_here(corpus, settings, connect_workers("", 2))
    await assert_same(built, settings, await build_alone(corpus, HarnessSettings(home=tmp_path / "alone")))


async def test_minilm_embeds_on_ray_what_it_embeds_here(cluster: str, keys: None, tmp_path: Path) -> None:
    config = RagConfig().replace({"index.embedder.name": "local:minilm"})
    corpus, settings = write_corpus(tmp_path / "acme", documents=3), HarnessSettings(home=tmp_path / "home")
    built = await build_here(corpus, settings, connect_workers("", 1), config)
    await assert_same(built, settings, await build_alone(corpus, HarnessSettings(home=tmp_path / "alone"), config))


async def test_ray_reads_one_bucket_and_builds_in_another(
    cluster: str, keys: None, tmp_path: Path, upload: Callable[[Path, str], None]
) -> None:
    client = boto3.Session().client("s3", endpoint_url=HarnessSettings().s3_endpoint, region_name="us-east-1")
    for name in ("documents", "indexes"):
        client.create_bucket(Bucket=name)
    corpus = write_corpus(tmp_path / "acme", documents=4)
    upload(corpus, "documents")
    settings = HarnessSettings(home=tmp_path / "home", indexes="s3://indexes/here")
    built = await build_here("s3://documents/acme", settings, connect_workers("", 2))
    await assert_same(built, settings, await build_alone(corpus, HarnessSettings(home=tmp_path / "alone")))


async def test_workers_that_are_killed_in_the_middle_are_replaced(cluster: str, keys: None, tmp_path: Path) -> None:
    corpus, settings = write_corpus(tmp_path / "acme", documents=20), HarnessSettings(home=tmp_path / "home")
    begun = threading.Event()

    def look(what: str, done: int, total: int) -> None:
        if what.startswith("embedding") and done:
            begun.set()

    def kill() -> None:
        assert begun.wait(PATIENCE_S)
        for worker in until(workers_at_work):
            with suppress(ProcessLookupError):  # it may have ended in this moment
                os.kill(worker, signal.SIGKILL)

    killing = asyncio.create_task(asyncio.to_thread(kill))
    built = await build_here(corpus, settings, connect_workers("", 2), progress=look)
    await killing
    await assert_same(built, settings, await build_alone(corpus, HarnessSettings(home=tmp_path / "alone")))


async def test_a_driver_that_is_killed_goes_on_with_the_same_command(cluster: str, keys: None, tmp_path: Path) -> None:
    corpus, home = write_corpus(tmp_path / "acme", documents=30), tmp_path / "home"
    settings = HarnessSettings(home=home)
    command = [sys.executable, "-c", DRIVER, str(corpus), str(home), cluster]
    with subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(REPOSITORY)}) as driver:  # noqa: ASYNC220
        appended = await asyncio.to_thread(until, lambda: ledger(settings, "appended"))
        driver.kill()
    assert driver.returncode == -signal.SIGKILL
    built = await build_here(corpus, settings, connect_workers("", 2))
    assert appended
    await assert_same(built, settings, await build_alone(corpus, HarnessSettings(home=tmp_path / "alone")))


def test_the_command_builds_and_says_what_it_built(cluster: str, keys: None, world: World) -> None:
    said = world.touchstone("index", "-c", "tiny.yaml", "--corpus", "tiny", "--engine", "ray", "--workers", "2", "--json")
    assert said.code == 0, said.err
    assert said.json["documents"] == said.json["public"] == 5  # type: ignore[index]
    again = world.touchstone("index", "-c", "tiny.yaml", "--corpus", "tiny", "--json")
    assert again.json == said.json


def ledger(settings: HarnessSettings, state: str) -> set[str]:
    """The parts of a build that are in a state."""
    storage = building_storage(settings)
    blobs = {entry.key: storage.get(entry.key) for entry in storage.list("rows/") if entry.key.endswith(".json")}
    return {key for key, blob in blobs.items() if blob is not None and json.loads(blob.data)["state"] == state}


def until(found: Callable[[], Any]) -> Any:
    end = time.monotonic() + PATIENCE_S
    while not (value := found()):
        assert time.monotonic() < end
        time.sleep(0.01)
    return value


def workers_at_work() -> list[int]:
    """Processes of Ray that carry out an order now."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            line = (path / "cmdline").read_bytes()
            ours = f"PYTHONPATH={REPOSITORY}".encode() in (path / "environ").read_bytes()
        except OSError:
            continue
        if b"ray::carry_out" in line and ours:
            found.append(int(path.name))
    return found
