"""The API as the demo shows it: a server of its own on a free port, asked over HTTP as anybody would, and stopped in the end."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HOST = "127.0.0.1"
READY_S = 300.0  # patience with its start, and with its following the channel
ANSWER_S = 120.0
STOP_S = 60.0


@dataclass(frozen=True, slots=True)
class DemoServer:
    """A server that runs."""

    address: str
    log: Path
    process: "subprocess.Popen[bytes]"

    def ask(self, question: str) -> dict[str, Any]:
        """The answer to a question."""
        body = json.dumps({"question": question}).encode()
        request = urllib.request.Request(f"{self.address}/v1/query", body, {"content-type": "application/json"})  # noqa: S310 — the address of our own server — our own
        with urllib.request.urlopen(request, timeout=ANSWER_S) as response:  # noqa: S310 — the address of our own server
            answer: dict[str, Any] = json.load(response)
            return answer

    def wait_for(self, release: str) -> float:
        """Wait until it serves a release; the seconds that took."""
        begin = time.monotonic()
        while time.monotonic() - begin < READY_S:
            if self.process.poll() is not None:
                break
            if self._ready().get("loaded") == release:
                return time.monotonic() - begin
            time.sleep(0.1)
        sys.stderr.write(self.log.read_text(encoding="utf-8")[-4000:])
        sys.exit(f"The server does not serve {release}; its log: {self.log}")

    def _ready(self) -> dict[str, Any]:
        try:
            with urllib.request.urlopen(f"{self.address}/readyz", timeout=ANSWER_S) as response:  # noqa: S310 — the address of our own server — our own
                state: dict[str, Any] = json.load(response)
                return state
        except (urllib.error.URLError, OSError, ValueError):  # not listening yet, or not ready
            return {}


@contextmanager
def demo_server(channel: str, log: Path, environment: dict[str, str]) -> Iterator[DemoServer]:
    """A server of a channel, which is stopped when the block ends, however it ends."""
    port = _free_port()
    command = [sys.executable, "-P", "-m", "serving.app", "--channel", channel, "--host", HOST, "--port", str(port)]
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env={**os.environ, **environment})  # noqa: S603 — our own command
    try:
        yield DemoServer(f"http://{HOST}:{port}", log, process)
    finally:
        _stop(process)


def _stop(process: "subprocess.Popen[bytes]") -> None:
    """End it gracefully, then at once; a second Ctrl-C meanwhile ends it at once too."""
    try:
        process.send_signal(signal.SIGTERM)
        process.wait(STOP_S)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        process.kill()
        process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port
