import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from serving.app.__main__ import _installed_only
from tests.app.making import QUESTION, House, config, events
from tests.support.ports import free_port
from tests.support.waiting import WITHIN_S

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).parents[3]
MOST_S = 5 * WITHIN_S  # after which a test that hangs is ended; a process may take long to start


@pytest.fixture(scope="module")
def reading(tmp_path_factory: pytest.TempPathFactory) -> House:
    """A house whose release answers with the real local reader."""
    house = House(tmp_path_factory.mktemp("reading"))
    asyncio.run(house.release(config(**{"answer.models.lite.name": "local:reader-lite"})))
    return house


def environment(house: House) -> dict[str, str]:
    own = {key: value for key, value in os.environ.items() if not key.startswith("TOUCHSTONE_")}
    return own | {
        "TOUCHSTONE_HOME": str(house.root / "home"),
        "TOUCHSTONE_RELEASES": str(house.releases),
        "TOUCHSTONE_POLL_S": "0.2",
        "PYTHONPATH": str(REPOSITORY),
    }


class Running:
    """A server process whose log is read as it comes."""

    def __init__(self, process: "subprocess.Popen[str]", url: str) -> None:
        self.process = process
        self.url = url
        self.lines: list[str] = []

    def wait_for(self, *words: str) -> None:
        """Read the log until each of the words has been in it."""
        assert self.process.stdout is not None
        left = {word for word in words if not any(word in line for line in self.lines)}
        while left:
            line = self.process.stdout.readline()
            assert line, f"the server ended before it said {left}: {self.lines}"
            self.lines.append(line)
            left -= {word for word in left if word in line}

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        assert self.process.stdout is not None
        self.lines += self.process.stdout.readlines()
        return self.process.wait()


@contextmanager
def running(house: House, command: list[str], port: int) -> Iterator[Running]:
    process = subprocess.Popen(
        [sys.executable, "-m", *command, "--port", str(port)],
        cwd=house.root, env=environment(house), text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    watchdog = threading.Timer(MOST_S, process.kill)
    watchdog.start()
    try:
        yield Running(process, f"http://127.0.0.1:{port}")
    finally:
        watchdog.cancel()
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def test_a_server_starts_proves_its_release_answers_streams_and_stops_when_told(reading: House) -> None:
    with running(reading, ["serving.app", "--channel", "dev"], free_port()) as server:
        server.wait_for("Uvicorn running", "release served")
        with httpx.Client(base_url=server.url, timeout=WITHIN_S) as client:
            ready = client.get("/readyz")
            assert (ready.status_code, ready.json()["current"]) == (200, True)
            answer = client.post("/v1/query", json={"question": QUESTION}).json()
            streamed = events(client.post("/v1/query/stream", json={"question": QUESTION}).text)
            assert "server" not in ready.headers
            assert client.get("/").status_code == 200
        code = server.stop()
    assert "28" in answer["answer"]
    assert answer["citations"][0]["document"] == "leave.md"
    assert answer["model"] == "local:reader-lite"
    assert streamed[-1][0] == "answer"
    assert streamed[-1][1]["answer"] == answer["answer"]
    assert code == 0
    log = [json.loads(line) for line in server.lines]
    assert log[-1]["event"].startswith("Finished server process")
    assert "stopped" in [line["event"] for line in log]
    assert sorted(line["route"] for line in log if line["event"] == "request") == ["/", "/v1/query", "/v1/query/stream"]
    assert QUESTION not in "".join(server.lines)


def test_the_folder_that_a_server_is_started_in_is_not_on_its_import_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), "/elsewhere"])
    _installed_only()
    assert sys.path == ["/elsewhere"]
    monkeypatch.chdir(REPOSITORY)
    monkeypatch.setattr(sys, "path", [str(REPOSITORY), "/elsewhere"])
    _installed_only()  # run from its own source, this is where the package is
    assert sys.path == [str(REPOSITORY), "/elsewhere"]


def test_a_server_without_a_release_stays_up_and_takes_the_release_when_it_comes(tmp_path: Path) -> None:
    house = House(tmp_path)
    with running(house, ["uvicorn", "serving.app.main:create_app", "--factory"], free_port()) as server:
        server.wait_for("Uvicorn running", "release not served")
        with httpx.Client(base_url=server.url, timeout=WITHIN_S) as client:
            assert client.get("/livez").status_code == 200
            assert client.get("/readyz").status_code == 503
            digest = asyncio.run(house.release(config()))
            server.wait_for("release served")
            assert client.get("/readyz").json()["loaded"] == digest
        server.stop()


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_process_out_of_open_files_says_so_once_and_answers_again(tmp_path: Path, loop: str) -> None:
    house = House(tmp_path)
    if loop == "uvloop":
        pytest.importorskip("uvloop")
    script = (
        "import resource, sys, runpy\n"
        f"if {loop!r} == 'asyncio': sys.modules['uvloop'] = None\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))\n"
        "import serving.app.server.run as run\n"
        "run.raise_open_files = lambda connections: connections\n"  # as if the files were leaked elsewhere
        "from serving.app.__main__ import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    (tmp_path / "short_of_files.py").write_text(script)
    port = free_port()
    with running(house, ["short_of_files"], port) as server:
        server.wait_for("Uvicorn running")
        taken = [socket.create_connection(("127.0.0.1", port)) for _ in range(120)]
        threading.Event().wait(2.5)  # the accept loop is tried again each second
        for one in taken:
            one.close()
        with httpx.Client(base_url=server.url, timeout=WITHIN_S, transport=httpx.HTTPTransport(retries=3)) as client:
            assert client.get("/livez").status_code == 200
        server.stop()
    assert len("".join(server.lines)) < 20_000
    said = [json.loads(line) for line in server.lines if "out of system resource" in line]
    assert len(said) <= 2  # the first, and how many there were


def test_a_port_that_is_taken_is_one_line_that_names_another(furnished: House) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-m", "serving.app", "--port", str(port)],
            cwd=furnished.root, env=environment(furnished), capture_output=True, text=True, check=False, timeout=MOST_S,
        )  # fmt: skip
    assert done.returncode == 2
    taken = f"touchstone: Port {port} on 127.0.0.1 is in use by another program."
    assert re.fullmatch(rf"{re.escape(taken)} Choose another: --port \d+, or stop that one\.\n", done.stderr)
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "extra", "complaint"),
    [
        (["--channel", "prd"], {}, "invalid choice: 'prd'"),
        (["--port", "99999"], {}, "'99999' is not a port"),
        ([], {"TOUCHSTONE_POLL_S": "often"}, "poll_s: input should be a valid number"),
        ([], {"TOUCHSTONE_CHANNEL": "prd"}, "must be one of dev, staging, prod"),
        ([], {"TOUCHSTONE_API_KEYS": "/nowhere/keys.yaml"}, "No file '/nowhere/keys.yaml'"),
    ],
)
def test_a_wrong_setting_ends_the_start_with_one_clear_line(
    furnished: House, arguments: list[str], extra: dict[str, str], complaint: str
) -> None:
    done: Any = subprocess.run(
        [sys.executable, "-m", "serving.app", *arguments],
        cwd=furnished.root, env=environment(furnished) | extra, capture_output=True, text=True, check=False, timeout=MOST_S,
    )  # fmt: skip
    assert done.returncode == 2
    assert complaint in done.stderr
    assert "Traceback" not in done.stderr
