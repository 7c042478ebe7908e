"""A real Prometheus with our configuration scrapes a real server, and its rules say what was asked of it."""

import asyncio
import json
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from infra.checks.observability import ROOT, Observability
from tests.app.making import QUESTION, House, config
from tests.app.server.test_process import running
from tests.support.ports import free_port
from tests.support.waiting import until

PROGRAM = shutil.which("prometheus")
MOST_S = 300.0
# panels that are empty rightly: there was no budget, no cluster, no cache, no Redis, no candidate, no guard that fired, and nothing failed
DID_NOT_HAPPEN = {
    "cost.json: Calls without a known price",
    "cost.json: Given up for a dearer tier",
    "cost.json: Share of the day's budget",
    "performance.json: Failed runs that are kept",
    "performance.json: Failures in the pipeline",
    "performance.json: How far the cache reaches",
    "performance.json: Models that are left alone",
    "performance.json: Pods that are wanted, and available",
    "performance.json: Restarts of an hour",
    "performance.json: Share of questions answered from the cache",
    "performance.json: Since a job last succeeded",
    "performance.json: Time to the first words",
    "performance.json: Times a model did not answer",
    "performance.json: Trouble with Redis",
    "quality.json: Audits of cached answers",
    "quality.json: Confidence",
    "releases.json: Share that disagrees, of a day",
    "releases.json: Tried",
    "safety.json: Cached entries without our seal",
    "safety.json: Checks that came to no verdict",
    "safety.json: Connections ended by the server",
    "safety.json: Incidents of ten minutes",
    "safety.json: Requests sent away",
    "safety.json: Rules that fired",
}
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PROGRAM is None, reason="prometheus is not installed: apt-get install prometheus"),
]


class Prometheus:
    """Its HTTP interface."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def get(self, path: str, **parameters: str) -> Any:
        answer = self._client.get(f"/api/v1{path}", params=parameters).json()
        assert answer["status"] == "success", answer
        return answer["data"]

    def value(self, ask: str) -> float | None:
        """The one value of a question; None where there is none."""
        found = self.get("/query", query=ask)["result"]
        assert len(found) <= 1, found
        return float(found[0]["value"][1]) if found else None

    def shows(self, ask: str) -> bool:
        """Whether a panel with this question has anything to draw."""
        return any(one["value"][1] != "NaN" for one in self.get("/query", query=ask)["result"])

    def firing(self) -> set[str]:
        """The alerts that fire."""
        return {alert["labels"]["alertname"] for alert in self.get("/alerts")["alerts"] if alert["state"] == "firing"}

    def rules(self) -> list[dict[str, Any]]:
        """Every rule, and how it fares."""
        return [rule for group in self.get("/rules")["groups"] for rule in group["rules"]]

    def wait_for_panels(self, panels: list[tuple[str, str]], silent: set[str]) -> None:
        """Wait until all panels but those have something to draw: a rule is computed when the turn of its group comes."""
        ends = time.monotonic() + MOST_S
        while (found := {where for where, _ in panels} - {where for where, ask in panels if self.shows(ask)}) != silent:
            assert time.monotonic() < ends, f"wrongly silent {sorted(found - silent)}, wrongly shown {sorted(silent - found)}"
            time.sleep(0.1)

    def wait_for(self, ask: str, wanted: Callable[[float | None], bool]) -> float | None:
        ends = time.monotonic() + MOST_S
        while not wanted(found := self.value(ask)):
            assert time.monotonic() < ends, f"{ask} is {found}"
            time.sleep(0.1)
        return found


@pytest.fixture
def house(tmp_path: Path) -> House:
    """A house with one release on `dev`."""
    made = House(tmp_path / "house")
    asyncio.run(made.release(config()))
    return made


def _ready(client: httpx.Client) -> bool:
    try:
        return client.get("/-/ready").status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture
def prometheus(tmp_path: Path) -> Iterator[tuple[Prometheus, Path]]:
    """One that looks every second at whatever its file of targets says."""
    shutil.copytree(ROOT / "infra" / "observability" / "prometheus", tmp_path / "prometheus")
    with looking(tmp_path, yaml.safe_load((tmp_path / "prometheus" / "prometheus.yml").read_text())) as asked:
        yield asked, tmp_path / "prometheus" / "targets.yml"


@contextmanager
def looking(tmp_path: Path, read: dict[str, Any]) -> Iterator[Prometheus]:
    """A Prometheus with a configuration, that looks every second."""
    config = tmp_path / "prometheus" / "prometheus.yml"
    read["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "500ms"}
    del read["alerting"]  # nobody listens here
    config.write_text(yaml.safe_dump(read))
    port = free_port()
    assert PROGRAM
    process = subprocess.Popen(
        [PROGRAM, f"--config.file={config}", f"--storage.tsdb.path={tmp_path / 'data'}", f"--web.listen-address=127.0.0.1:{port}"],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=tmp_path,
    )  # fmt: skip
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=MOST_S) as client:
            ends = time.monotonic() + MOST_S
            while not _ready(client):
                assert process.poll() is None, process.stderr.read() if process.stderr else ""
                assert time.monotonic() < ends, "Prometheus did not start"
                time.sleep(0.1)
            yield Prometheus(client)
    finally:
        process.kill()
        process.communicate()


def test_the_rules_say_what_load_was_made(house: House, prometheus: tuple[Prometheus, Path]) -> None:
    asked, targets = prometheus
    with running(house, ["serving.app", "--channel", "dev"], free_port()) as server:
        server.wait_for("Uvicorn running", "release served")
        targets.write_text(yaml.safe_dump([{"targets": [server.url.removeprefix("http://")], "labels": {"environment": "prod"}}]))
        asked.wait_for("touchstone_query_seconds_count", lambda found: found == 0)
        with httpx.Client(base_url=server.url, timeout=MOST_S) as client:
            answers = [client.post("/v1/query", json={"question": QUESTION}) for _ in range(20)]
            nothing = [client.post("/v1/query", json={"question": QUESTION, "domains": ["no such"]}) for _ in range(10)]
            wrong = [client.post("/v1/query", json={"question": 7}) for _ in range(3)]
            assert {one.status_code for one in answers + nothing} == {200}
            assert {one.status_code for one in wrong} == {422}
            shown = client.get("/metrics").text
        asked.wait_for("touchstone_query_seconds_count", lambda found: found == 30)
        # counters: as the server shows them
        usd = sum(one.json()["usage"]["usd"] for one in answers + nothing)
        for ask, wanted in {
            'sum(touchstone_requests_total{route="/v1/query", status="200"})': 30,
            'sum(touchstone_requests_total{route="/v1/query", status="422"})': 3,
            "sum(touchstone_usd_total)": pytest.approx(usd),
            'touchstone_hits_bucket{le="0.0"}': 10,
            'touchstone_role_answers_total{role="stable", outcome="refused"}': 10,
        }.items():
            asked.wait_for(ask, lambda found, wanted=wanted: found == wanted)  # the next look may be the first that sees all
        assert 'touchstone_role_answers_total{outcome="refused",role="stable"} 10.0' in shown
        # recording rules, once they have seen all of it
        asked.wait_for("environment:touchstone_empty_retrieval:ratio_rate30m", lambda found: found == pytest.approx(10 / 30))
        asked.wait_for("environment:touchstone_refused:ratio_rate1h", lambda found: found == pytest.approx(10 / 30))
        asked.wait_for("environment:touchstone_ungrounded:ratio_rate1h", lambda found: found == 0)
        # alerts: what is true waits for its time, what is not is quiet
        [empty] = [rule["expr"] for rule in Observability().alerts() if rule["alert"] == "EmptyRetrieval"]
        asked.wait_for(empty, lambda found: found == pytest.approx(10 / 30))  # another group computes the other half of it
        asked.wait_for('ALERTS{alertname="EmptyRetrieval", alertstate="pending", environment="prod"}', lambda found: found == 1)
        until(lambda: asked.firing() == {"Watchdog"}, MOST_S)
        # nothing of ours makes Prometheus complain of real data, once the turn of each rule has come
        once_a_minute = "environment_cronjob:kube_cronjob_suspended:seen15d"
        until(lambda: not [rule for rule in asked.rules() if rule["health"] == "unknown" and rule["name"] != once_a_minute], MOST_S)
        assert [(rule["name"], rule["health"], rule["lastError"]) for rule in asked.rules() if rule.get("lastError")] == []
        # under load every panel shows something, but for those of what did not happen; a rate needs a rise that was seen
        with httpx.Client(base_url=server.url, timeout=MOST_S) as client:
            for wave in ([QUESTION, "What does the logo stand on?"], [QUESTION]):
                assert {client.post("/v1/query", json={"question": question}).status_code for question in wave} == {200}
        asked.wait_for("environment:touchstone_questions:rate5m", lambda found: found is not None and found > 0)
        asked.wait_for("environment:touchstone_slow:ratio_rate1d", lambda found: found == 0)
        asked.wait_for_panels(Observability().dashboard_questions(), DID_NOT_HAPPEN)
        server.stop()
        asked.wait_for('ALERTS{alertname="ServerDown", alertstate="pending"}', lambda found: found == 1)
    log = [json.loads(line) for line in server.lines if line.startswith("{")]
    assert not [line for line in log if line.get("level") == "error"]


OF_THE_CLUSTER = """\
# TYPE kube_pod_status_phase gauge
kube_pod_status_phase{namespace="touchstone-prod",pod="touchstone-api-1",uid="1",phase="Pending"} 1
kube_pod_status_phase{namespace="mlflow",pod="mlflow-1",uid="2",phase="Running"} 1
kube_pod_status_phase{namespace="kube-system",pod="coredns-1",uid="3",phase="Pending"} 1
# TYPE kube_pod_status_ready gauge
kube_pod_status_ready{namespace="mlflow",pod="mlflow-1",uid="2",condition="true"} 1
"""


class Told(BaseHTTPRequestHandler):
    """What kube-state-metrics tells of three pods."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.end_headers()
        self.wfile.write(OF_THE_CLUSTER.encode())

    def log_message(self, *words: object) -> None:
        """Nobody reads them."""


def test_what_kubernetes_tells_comes_by_environment_and_of_ours_alone(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "infra" / "observability" / "prometheus", tmp_path / "prometheus")
    read = yaml.safe_load((tmp_path / "prometheus" / "prometheus.kubernetes.yml").read_text())
    read["scrape_configs"] = [job for job in read["scrape_configs"] if job["job_name"] == "kube-state-metrics"]
    server = ThreadingHTTPServer(("127.0.0.1", 0), Told)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        read["scrape_configs"][0]["static_configs"] = [{"targets": [f"127.0.0.1:{server.server_port}"]}]
        with looking(tmp_path, read) as asked:
            asked.wait_for('up{job="kube-state-metrics"}', lambda found: found == 1)
            asked.wait_for('ALERTS{alertname="PodNotReady", alertstate="pending", environment="touchstone-prod"}', lambda found: found == 1)
            asked.wait_for("count(kube_pod_status_phase)", lambda found: found == 2)
            asked.wait_for('kube_pod_status_phase{environment="touchstone-prod", pod="touchstone-api-1"}', lambda found: found == 1)
            asked.wait_for('kube_pod_status_phase{environment="mlflow", pod="mlflow-1"}', lambda found: found == 1)
            asked.wait_for('count(ALERTS{alertname="PodNotReady"})', lambda found: found == 1)
            server.shutdown()
            server.server_close()
            asked.wait_for('ALERTS{alertname="ClusterUnwatched", alertstate="pending"}', lambda found: found == 1)
    finally:
        server.shutdown()
        server.server_close()
