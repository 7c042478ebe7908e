"""A real redis-server of a test's own, to be stopped, killed and started again; deployments have no more rights on it than they need."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.pipeline.cache.redis_link import RedisLink
from serving.pipeline.redis.rights import access_string
from serving.pipeline.settings import PipelineSettings
from tests.support.ports import free_port
from tests.support.waiting import WITHIN_S

PREFIX = PipelineSettings.model_fields["redis_prefix"].default
PROGRAM = shutil.which("redis-server") or shutil.which("valkey-server")


class RedisServer:
    """A server on a free port, that keeps nothing on the disk."""

    def __init__(self, folder: Path, *options: str, tls: bool = False) -> None:
        self.port = free_port()
        self._folder = folder
        self._options = (*options, "--tls-port", str(self.port)) if tls else options
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        """As a deployment, with the rights that Terraform gives one."""
        return f"redis://{PREFIX}:any@127.0.0.1:{self.port}/0"

    @property
    def owner_url(self) -> str:
        """As somebody who may do everything."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        assert PROGRAM
        command = [PROGRAM, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", str(self._folder)]
        command += ["--user", PREFIX, "nopass", *access_string(PREFIX).split()]
        self._process = subprocess.Popen([*command, *self._options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until = time.monotonic() + WITHIN_S
        while self._process.poll() is None and time.monotonic() < until:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.01)
        raise RuntimeError("redis-server did not start")

    def kill(self) -> None:
        """kill -9."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """It accepts connections and answers nothing."""
        assert self._process
        os.kill(self._process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process
        os.kill(self._process.pid, signal.SIGCONT)


def running_redis(folder: Path, *options: str, tls: bool = False) -> Iterator[RedisServer]:
    """A server that is gone afterwards; skips where none is installed."""
    if PROGRAM is None:
        pytest.skip("redis-server is not installed: apt install redis-server")
    server = RedisServer(folder, *options, tls=tls)
    try:
        yield server
    finally:
        server.kill()


def patient_with_redis(monkeypatch: pytest.MonkeyPatch, patience_s: float = WITHIN_S) -> None:
    """More patience with Redis than a server has, which goes on without it: a busy machine is no Redis that is away."""
    for module in ("serving.app.core.rate", "serving.app.core.redis_ledger", "serving.pipeline.redis.check"):
        monkeypatch.setattr(f"{module}.PATIENCE_S", patience_s)
    monkeypatch.setitem(RedisLink.__init__.__kwdefaults__, "patience_s", patience_s)  # of links that a pipeline opens for itself


def a_secret() -> str:
    return secrets.token_hex(32)
