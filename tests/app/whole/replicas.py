"""Server processes that share what they stand on: releases, index and documents on S3, traces in DynamoDB, counts and answers in Redis."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from serving.pipeline.config import RagConfig
from serving.pipeline.index.build import build_index
from serving.pipeline.index.corpus import Corpus
from serving.pipeline.settings import PipelineSettings
from serving.release.bundle import open_releases, write_release
from serving.storage.base import Storage
from tests.app.making import DOCUMENTS, PROMPTS
from tests.app.server.test_process import REPOSITORY
from tests.support.ports import free_port
from tests.support.releasing import PROMPTS as LIBRARY
from tests.support.releasing import point
from tests.support.waiting import WITHIN_S, until


@dataclass(frozen=True)
class Estate:
    """What all replicas stand on."""

    root: Path
    bucket: str
    shared: Mapping[str, str]  # their settings, as environment variables

    @property
    def settings(self) -> PipelineSettings:
        s3 = self.shared.get("TOUCHSTONE_S3_ENDPOINT", "")
        return PipelineSettings(home=self.root / "builder", indexes=self.shared["TOUCHSTONE_INDEXES"], s3_endpoint=s3, _env_file=None)

    @property
    def releases(self) -> Storage:
        return open_releases(self.shared["TOUCHSTONE_RELEASES"], self.settings)

    async def release(self, config: RagConfig) -> str:
        """Write a release, and its index if there is none yet."""
        index = await build_index(Corpus.of("tiny", DOCUMENTS), config, settings=self.settings)
        return write_release(self.releases, config, LIBRARY, index.manifest).digest

    def promote(self, digest: str) -> None:
        """Point the channel `dev` at a release."""
        point(self.releases, "dev", digest)


@dataclass(frozen=True)
class Replica:
    """One server process, and a client of it."""

    client: httpx.Client
    process: "subprocess.Popen[bytes]"
    log: Path

    def ask(self, question: str, key: str, **more: Any) -> httpx.Response:
        return self.client.post("/v1/query", json={"question": question, **more}, headers=bearer(key))

    def serves(self, digest: str) -> bool:
        """Whether it is ready with a release."""
        ready = self.client.get("/readyz")
        return ready.status_code == 200 and ready.json()["loaded"] == digest

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.wait()


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@contextmanager
def replica(estate: Estate, name: str, *, module: str = "serving.app") -> Iterator[Replica]:
    """A server process with a home of its own, started by the name of its module."""
    port, log = free_port(), estate.root / f"{name}.log"
    own = {key: value for key, value in os.environ.items() if not key.startswith("TOUCHSTONE_")}
    own |= {**estate.shared, "TOUCHSTONE_HOME": str(estate.root / name), "TOUCHSTONE_PROMPTS": str(PROMPTS)}
    own |= {"TOUCHSTONE_POLL_S": "0.2", "PYTHONPATH": str(REPOSITORY)}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", module, "--port", str(port)],
            cwd=estate.root, env=own, stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=WITHIN_S) as client:
            until(lambda: _alive(client, process, log))
            yield Replica(client, process, log)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(WITHIN_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _alive(client: httpx.Client, process: "subprocess.Popen[bytes]", log: Path) -> bool:
    assert process.poll() is None, log.read_text(errors="replace")[-3000:]
    try:
        return client.get("/livez").status_code == 200
    except httpx.TransportError:
        return False
