"""Two servers with nothing of their own, on the buckets and the table that Terraform makes, told of them by the made settings."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest

from serving.pipeline.index.build import build_index
from serving.pipeline.index.corpus import Corpus
from serving.pipeline.prompts import PromptLibrary
from serving.pipeline.settings import PipelineSettings
from serving.release.bundle import write_release
from tests.app.making import DOCUMENTS, PROMPTS, QUESTION, SAYS, config
from tests.infra.land import build, told
from tests.infra.scripts import ROOT
from tests.infra.test_checks import needs_terraform, stand_in
from tests.support import s3
from tests.support.ports import free_port
from tests.support.releasing import at, point
from tests.support.waiting import until

s3_server = s3.s3_server
pytestmark = pytest.mark.slow
NEW = "Everyone has 30 days of paid leave a year [1]."
MOST_S = 300.0  # after which a server that is waited for is given up


@pytest.fixture(scope="module")
def made_by_terraform() -> list[dict[str, Any]]:
    """The persistent layer, as an apply on the stand-in leaves it."""
    with stand_in.working_copy() as place:
        place.init("persistent")
        place.run("persistent", "apply", "-auto-approve", "-input=false", "-no-color")
        return list(place.resources("persistent"))


@pytest.fixture
def account(made_by_terraform: list[dict[str, Any]], s3_server: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Buckets and tables of these names and keys on a server that speaks AWS, and the settings of the channel dev."""
    settings = told(s3_server)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    build(made_by_terraform, s3_server, settings["TOUCHSTONE_AWS_REGION"])
    return settings


def promoted(says: str, home: Path) -> str:
    """A release whose index, like itself, is in S3."""
    settings = PipelineSettings(home=home, _env_file=None)
    chosen = config(says)
    index = asyncio.run(build_index(Corpus.of("tiny", DOCUMENTS), chosen, settings=settings))
    storage = at(os.environ["TOUCHSTONE_RELEASES"])
    release = write_release(storage, chosen, PromptLibrary(PROMPTS), index.manifest)
    point(storage, "dev", release.digest)
    return release.digest


@contextmanager
def serving(told: Mapping[str, str], home: Path) -> Iterator[tuple["subprocess.Popen[bytes]", httpx.Client]]:
    """A server process that has an empty folder and its settings."""
    port = free_port()
    home.mkdir()
    own = {name: value for name, value in os.environ.items() if not name.startswith("TOUCHSTONE_")}
    environment = own | dict(told) | {"TOUCHSTONE_HOME": str(home), "PYTHONPATH": str(ROOT)}
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "serving.app", "--port", str(port)], cwd=home, env=environment, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=MOST_S) as client:
            yield process, client
    finally:
        process.kill()
        process.wait()


def awaited(client: httpx.Client, digest: str, log: Path) -> None:
    """Wait until a server has loaded a release."""
    ends = time.monotonic() + MOST_S
    while time.monotonic() < ends:
        try:
            ready = client.get("/readyz").json()
            if ready["ready"] and ready["loaded"] == digest:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)  # between two looks at another process
    raise AssertionError(f"{digest} was not loaded: {log.read_text()[-3000:]}")


@needs_terraform
def test_one_is_killed_and_the_other_takes_the_next_release_with_no_failed_request(account: dict[str, str], tmp_path: Path) -> None:
    first = promoted(SAYS, tmp_path / "builder")
    with serving(account, tmp_path / "one") as (one, client_one), serving(account, tmp_path / "two") as (_, client_two):
        awaited(client_one, first, tmp_path / "one/log")
        awaited(client_two, first, tmp_path / "two/log")
        answer = client_one.post("/v1/query", json={"question": QUESTION}).json()
        assert "28" in answer["answer"]
        one.send_signal(signal.SIGKILL)
        second = promoted(NEW, tmp_path / "builder")
        answers: list[httpx.Response] = []
        ends = time.monotonic() + MOST_S
        while not answers or "30" not in answers[-1].text:
            assert time.monotonic() < ends, (tmp_path / "two/log").read_text()[-3000:]
            answers.append(client_two.post("/v1/query", json={"question": QUESTION}))
            time.sleep(0.05)  # the other process needs the core too
        awaited(client_two, second, tmp_path / "two/log")
        assert {response.status_code for response in answers} == {200}
        assert not [path for path in (tmp_path / "two").rglob("*") if path.suffix in (".db", ".lance")]
        traces = boto3.resource(
            "dynamodb", endpoint_url=account["TOUCHSTONE_DYNAMODB_ENDPOINT"], region_name=account["TOUCHSTONE_AWS_REGION"]
        )
        table = traces.Table(account["TOUCHSTONE_TRACES"].removeprefix("dynamodb:"))
        until(lambda: [item for item in table.scan()["Items"] if item["sk"] == "trace"], MOST_S)
        trace = next(item for item in table.scan()["Items"] if item["sk"] == "trace")
        assert {"pk", "sk", "ttl", "everyone", "at"} <= set(trace)
        audit = traces.Table(account["TOUCHSTONE_AUDIT"].removeprefix("dynamodb:"))
        before = audit.scan()["Items"]  # of other files' tests
        dev = client_two.get("/v1/admin/channels").json()["channels"][0]
        moved = client_two.post(
            "/v1/admin/channels/dev/rollback", json={"why": "a test", "revision": dev["revision"]}, headers={"X-Touchstone-CSRF": "1"}
        )
        entry = client_two.get("/v1/admin/audit").json()["entries"][0]
        kept = [item for item in audit.scan()["Items"] if item not in before]
        assert moved.status_code == 200, moved.text
        assert (entry["action"], entry["outcome"], entry["result"]["from"], entry["result"]["to"]) == (
            "channel.rollback",
            "done",
            second,
            first,
        )
        assert all({"pk", "sk", "ttl"} <= set(item) for item in kept)
        assert len(kept) == 2  # the entry, and how it ended
