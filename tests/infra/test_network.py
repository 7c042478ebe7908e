"""Real hosts in network namespaces: two replicas behind a real nginx, of which one is cut off, killed, or restarted under load."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from serving.keys import Caller, create_key
from tests.app.making import House, config
from tests.support.waiting import WITHIN_S

ROOT = Path(__file__).parents[2]
BALANCER, FIRST, SECOND, CLIENT = "10.77.0.1", "10.77.0.2", "10.77.0.3", "10.77.0.4"
ASKERS = 4  # of asking.py: connections that ask at a time


def _hosts_can_be_made() -> bool:
    """Whether this machine lets us make network namespaces."""
    if os.name != "posix" or os.geteuid() != 0 or not shutil.which("ip") or not shutil.which("nginx"):
        return False
    name = f"touchstone-trial-{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False).returncode == 0
    if made:
        subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
    return made


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not _hosts_can_be_made(), reason="needs root, network namespaces and nginx"),
]


@dataclass
class Network:
    """Hosts on one bridge; each is a namespace."""

    prefix: str
    folder: Path
    house: House
    key: str
    processes: dict[str, "subprocess.Popen[str]"] = field(default_factory=dict)

    def name(self, host: str) -> str:
        return f"{self.prefix}-{host.rpartition('.')[2]}"

    def make(self, *hosts: str) -> None:
        hub = f"{self.prefix}-hub"
        _ip("netns", "add", hub)
        _ip("-n", hub, "link", "add", "bridge0", "type", "bridge")
        _ip("-n", hub, "link", "set", "bridge0", "up")
        for host in hosts:
            name, end = self.name(host), f"to{host.rpartition('.')[2]}"
            _ip("netns", "add", name)
            _ip("-n", hub, "link", "add", end, "type", "veth", "peer", "name", "eth0", "netns", name)
            _ip("-n", hub, "link", "set", end, "master", "bridge0", "up")
            _ip("-n", name, "addr", "add", f"{host}/24", "dev", "eth0")
            _ip("-n", name, "link", "set", "eth0", "up")
            _ip("-n", name, "link", "set", "lo", "up")

    def remove(self, *hosts: str) -> None:
        for name in (*map(self.name, hosts), f"{self.prefix}-hub"):
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)

    def plug(self, host: str, *, into: bool) -> None:
        """Put a host's cable in, or pull it out."""
        _ip("-n", f"{self.prefix}-hub", "link", "set", f"to{host.rpartition('.')[2]}", "up" if into else "down")

    def serve(self, host: str) -> None:
        """Start a replica on a host, and wait until it is ready."""
        own = {name: value for name, value in os.environ.items() if not name.startswith("TOUCHSTONE_")} | {
            "TOUCHSTONE_HOME": str(self.house.root / "home"),
            "TOUCHSTONE_RELEASES": str(self.house.releases),
            "TOUCHSTONE_API_KEYS": str(self.folder / "keys.yaml"),
            "TOUCHSTONE_TRACES": str(self.folder / f"{host}.db"),
            "TOUCHSTONE_POLL_S": "0.5",
            "PYTHONPATH": str(ROOT),
        }
        log = (self.folder / f"{host}.log").open("w")
        command = ["ip", "netns", "exec", self.name(host), sys.executable, "-P", "-m", "serving.app", "--host", host, "--port", "8080"]
        self.processes[host] = subprocess.Popen(command, env=own, stdout=log, stderr=log, text=True)
        log.close()
        self.until(lambda: self.ready(host), f"{host} is ready")

    def ready(self, host: str) -> bool:
        return '"event": "release served"' in (self.folder / f"{host}.log").read_text()

    def asked_again(self, host: str) -> None:
        """Wait until the balancer sends a replica questions: while it does not, the other one is all there is."""
        log = self.folder / f"{host}.log"
        before = log.read_text().count('"route": "/v1/query"')
        self.until(lambda: log.read_text().count('"route": "/v1/query"') > before, f"the balancer asks {host} again")

    def balance(self) -> None:
        text = (Path(__file__).parent / "balancer.conf").read_text()
        (self.folder / "nginx.conf").write_text(text.format(folder=self.folder, first=FIRST, second=SECOND, balancer=BALANCER))
        command = ["ip", "netns", "exec", self.name(BALANCER), "nginx", "-c", str(self.folder / "nginx.conf"), "-p", str(self.folder)]
        self.processes[BALANCER] = subprocess.Popen(command, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def stop(self, host: str, how: signal.Signals) -> int:
        """End a host's process; what it ended with."""
        process = self.processes.pop(host)
        process.send_signal(how)
        return process.wait(timeout=WITHIN_S)

    def until(self, done: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + WITHIN_S
        while not done():
            assert time.monotonic() < end, f"not within {WITHIN_S:g} s: {what}"
            time.sleep(0.1)

    @contextmanager
    def load(self) -> Iterator["Load"]:
        """Questions from the client's host, all the while."""
        command = ["ip", "netns", "exec", self.name(CLIENT), sys.executable, str(Path(__file__).parent / "asking.py"), BALANCER, self.key]
        output = self.folder / f"answers-{time.monotonic_ns()}.jsonl"
        with output.open("w") as file:
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=file, text=True)
            load = Load(self, output)
            try:
                load.some_more()
                yield load
                load.some_more()
            finally:
                process.communicate("", timeout=WITHIN_S)


@dataclass(frozen=True)
class Load:
    """What the client has been told so far."""

    network: Network
    output: Path

    @property
    def answers(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.output.read_text().splitlines() if line.endswith("}")]

    def some_more(self, count: int = 40) -> None:
        """Wait for so many more answers."""
        wanted = len(self.answers) + count
        self.network.until(lambda: len(self.answers) >= wanted, f"{count} more answers")

    def failures(self) -> list[dict[str, Any]]:
        return [answer for answer in self.answers if answer["status"] != 200]


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    folder = tmp_path_factory.mktemp("network")
    house = House(folder / "house")
    release = asyncio.run(house.release(config()))
    key = create_key(folder / "keys.yaml", Caller(id="client"))
    found = Network(f"ts{os.getpid()}", folder, house, key)
    hosts = (BALANCER, FIRST, SECOND, CLIENT)
    with ExitStack() as stack:
        stack.callback(found.remove, *hosts)
        found.make(*hosts)

        def end_all() -> None:
            for host in list(found.processes):
                found.stop(host, signal.SIGTERM)

        stack.callback(end_all)
        found.serve(FIRST)
        found.serve(SECOND)
        found.balance()
        assert release
        yield found


def test_a_replica_is_cut_off_under_load_and_no_question_fails(network: Network) -> None:
    with network.load() as load:
        network.plug(SECOND, into=False)
        load.some_more(100)
        network.plug(SECOND, into=True)
        network.asked_again(SECOND)
        load.some_more()
    assert load.failures() == []
    assert len(load.answers) > 150


def test_a_replica_is_killed_under_load_and_nothing_is_lost_but_an_answer_that_it_was_sending(network: Network) -> None:
    with network.load() as load:
        network.stop(FIRST, signal.SIGKILL)
        load.some_more(100)
        network.serve(FIRST)
        network.asked_again(FIRST)
    broken_off = load.failures()
    assert {answer["status"] for answer in broken_off} <= {0}  # no balancer can take back half an answer; no question was refused
    assert len(broken_off) <= ASKERS


def test_replicas_are_restarted_in_turn_under_load_and_no_question_fails(network: Network) -> None:
    with network.load() as load:
        for host in (FIRST, SECOND):
            assert network.stop(host, signal.SIGTERM) == 0  # running questions end first
            load.some_more()
            network.serve(host)
            network.asked_again(host)
    assert load.failures() == []


def test_with_both_gone_the_client_is_told_so_which_shows_that_the_others_could_fail(network: Network) -> None:
    with network.load() as load:
        for host in (FIRST, SECOND):
            network.stop(host, signal.SIGKILL)
        load.network.until(lambda: bool(load.failures()), "a failure")
        for host in (FIRST, SECOND):
            network.serve(host)
        network.until(lambda: all(one["status"] == 200 for one in load.answers[-8:]), "answers again")
    assert {answer["status"] for answer in load.failures()} <= {0, 502, 503, 504}
