"""`make stack-smoke`: the parts of infra/compose.yaml as plain processes of this machine, and one question's way through all of them.

Postgres and an MLflow server on it, Redis, the query API with a key, and Prometheus where it is installed. An evaluation is logged,
a release is promoted and served, asked twice (the second time from Redis), seen by Prometheus, and kept as a trace with feedback.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

from infra.checks.outcome import CheckFailed

ROOT = Path(__file__).parents[2]
QUESTION = "Who approves an order of 60,000 EUR?"
PATIENCE_S = 120
POSTGRES = sorted(Path("/usr/lib/postgresql").glob("*/bin")) or [Path("/usr/bin")]


def main() -> int:
    """0 when everything answered; 0 with a word where a part is not installed; 1 when something failed."""
    missing = [name for name in ("redis-server",) if not shutil.which(name)]
    missing += [] if (POSTGRES[-1] / "initdb").exists() else ["postgresql"]
    if missing:
        print(f"stack-smoke: skipped: not installed: {', '.join(missing)} (apt-get install redis-server postgresql prometheus)")
        return 0
    with ExitStack() as stack, tempfile.TemporaryDirectory(prefix="touchstone-stack-") as folder:
        Path(folder).chmod(0o755)  # Postgres runs as somebody else
        try:
            Stack(Path(folder), stack).run()
        except CheckFailed as failure:
            print(f"stack-smoke: failed: {failure}")
            for log in sorted(Path(folder).glob("*.log")):
                print(f"--- {log.name}\n{log.read_text(errors='replace')[-2000:]}")
            return 1
    print("stack-smoke: passed")
    return 0


class Stack:
    """The processes, from the first to the last; all are stopped when the stack is left."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self._stack = stack
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self.ports = {name: free_port() for name in ("redis", "postgres", "mlflow", "api", "prometheus")}
        self.environment = {key: value for key, value in os.environ.items() if not key.startswith(("TOUCHSTONE_", "MLFLOW_"))} | {
            "TOUCHSTONE_HOME": str(folder / "home"),
            "TOUCHSTONE_RELEASES": str(folder / "releases"),
            "TOUCHSTONE_REPORTS": str(folder / "reports"),
            "TOUCHSTONE_LOOKS": str(folder / "looks.jsonl"),
            "TOUCHSTONE_MLFLOW_URI": f"http://127.0.0.1:{self.ports['mlflow']}",
            "TOUCHSTONE_REDIS": f"redis://127.0.0.1:{self.ports['redis']}/0",
            "TOUCHSTONE_CACHE_SECRET": "a secret of this trial alone, and of nothing else",
            "TOUCHSTONE_API_KEYS": str(folder / "keys.yaml"),
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }

    def run(self) -> None:
        """Start everything, then ask."""
        self.start("redis", ["redis-server", "--port", str(self.ports["redis"]), "--save", "", "--appendonly", "no", "--bind", "127.0.0.1"])
        self.start_postgres()
        store = f"postgresql://mlflow@127.0.0.1:{self.ports['postgres']}/mlflow"
        place = str(self.folder / "artifacts")
        server = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.ports["mlflow"]), "--workers", "1"]
        own = {"MLFLOW_BACKEND_STORE_URI": store, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}  # as the compose file tells it
        self.start("mlflow", [*server, "--artifacts-destination", place], environment=own)
        self.until("mlflow", lambda: self.get("mlflow", "/health") is not None)
        say("redis, postgres and an MLflow server on it are up")

        self.touchstone("eval", "--cases", "10", "--name", "stack", "--config", "experiments/configs/serving.yaml")
        runs = self.post("mlflow", "/api/2.0/mlflow/runs/search", {"experiment_ids": ["1"], "max_results": 5})["runs"]
        if not runs:
            raise CheckFailed("the evaluation is not in MLflow")
        say(f"an evaluation is logged in MLflow: run {runs[0]['info']['run_name']}")

        self.touchstone("promote", "experiments/configs/serving.yaml", "--force", "--why", "the stack is tried")
        scopes = [word for scope in ("query", "feedback", "admin") for word in ("--scope", scope)]
        key = json.loads(self.touchstone("key", "create", "smoke", *scopes, "--json"))["key"]
        self.start("api", [sys.executable, "-m", "serving.app", "--host", "127.0.0.1", "--port", str(self.ports["api"])])
        self.until("api", lambda: (self.get("api", "/readyz") or {}).get("current"))
        first = self.post("api", "/v1/query", {"question": QUESTION}, key)
        again = self.post("api", "/v1/query", {"question": QUESTION}, key)
        if not first["citations"]:
            raise CheckFailed(f"the answer cites nothing: {first['answer']}")
        if not again["cached"] or again["answer"] != first["answer"]:
            raise CheckFailed("asked again, the answer was not the remembered one")
        say(f"asked: {first['answer']} — the second time from Redis")

        self.post("api", "/v1/feedback", {"trace_id": first["trace_id"], "kind": "thumbs", "value": 1}, key)
        self.until("traces", lambda: self.get("api", f"/v1/traces/{first['trace_id']}", key))
        say("the trace is kept, with feedback")
        if shutil.which("prometheus"):
            self.watch()
        else:
            say("prometheus is not installed: its part was left out")

    def watch(self) -> None:
        """Let a Prometheus scrape the API by the rules of infra/observability, and ask it what it saw."""
        rules = sorted((ROOT / "infra/observability/prometheus/rules").glob("*.yml"))
        target = f"127.0.0.1:{self.ports['api']}"
        config = self.folder / "prometheus.yml"
        config.write_text(
            "\n".join(
                [
                    "global: {scrape_interval: 1s, evaluation_interval: 1s}",
                    f"rule_files: {json.dumps([str(file) for file in rules])}",
                    "scrape_configs:",
                    f"  - {{job_name: touchstone, static_configs: [{{targets: ['{target}'], labels: {{environment: dev}}}}]}}",
                    "",
                ]
            )
        )
        address = f"127.0.0.1:{self.ports['prometheus']}"
        options = [f"--config.file={config}", f"--storage.tsdb.path={self.folder / 'tsdb'}", f"--web.listen-address={address}"]
        self.start("prometheus", ["prometheus", *options])
        query = 'sum(touchstone_requests_total{route="/v1/query",status="200"})'

        def seen() -> float:
            answer = self.get("prometheus", f"/api/v1/query?{urlencode({'query': query})}") or {}
            found = answer.get("data", {}).get("result", [])
            return float(found[0]["value"][1]) if found else 0.0

        self.until("prometheus", lambda: seen() == 2)
        say("Prometheus counted both questions")

    def start_postgres(self) -> None:
        """A database of this trial alone, as the account postgres where this is root: it runs as nobody else."""
        data, tools = self.folder / "postgres", POSTGRES[-1]
        who = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []
        data.mkdir()
        if who:
            shutil.chown(data, "postgres", "postgres")
        made = [*who, str(tools / "initdb"), "-D", str(data), "-U", "mlflow", "--auth=trust", "--no-sync"]
        subprocess.run(made, cwd="/", stdout=subprocess.DEVNULL, check=True)
        port = str(self.ports["postgres"])
        options = ["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "fsync=off", "-p", port]
        self.start("postgres", [*who, str(tools / "postgres"), "-D", str(data), *options], stop=signal.SIGINT, cwd=Path("/"))
        at = ["-h", "127.0.0.1", "-p", port, "-U", "mlflow"]
        ready = [str(tools / "pg_isready"), *at, "-d", "postgres"]
        self.until("postgres", lambda: subprocess.run(ready, capture_output=True, check=False).returncode == 0)
        subprocess.run([str(tools / "createdb"), *at, "mlflow"], check=True)

    def start(
        self,
        name: str,
        command: Sequence[str],
        *,
        stop: signal.Signals = signal.SIGTERM,
        cwd: Path = ROOT,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Start a process whose output goes to a file; it is ended with everything else."""
        log = self._stack.enter_context((self.folder / f"{name}.log").open("wb"))
        told = self.environment | dict(environment or {})
        process = subprocess.Popen(command, env=told, cwd=cwd, stdout=log, stderr=subprocess.STDOUT)
        self._running[name] = process

        def end() -> None:
            process.send_signal(stop)
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

        self._stack.callback(end)

    def touchstone(self, *words: str) -> str:
        """Run a command of ours; its output."""
        command = [str(Path(sys.executable).parent / "touchstone"), *words]
        done = subprocess.run(command, env=self.environment, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            raise CheckFailed(f"touchstone {words[0]} ended with {done.returncode}: {done.stderr.strip()[-500:]}")
        return done.stdout

    def get(self, name: str, path: str, key: str = "") -> Any:
        """What a service says; None while it does not answer, or says no."""
        request = Request(f"http://127.0.0.1:{self.ports[name]}{path}", headers={"Authorization": f"Bearer {key}"} if key else {})
        try:
            with urlopen(request, timeout=5) as answer:
                text = answer.read()
        except (URLError, OSError):
            return None
        try:
            return json.loads(text)
        except ValueError:
            return text.decode()

    def post(self, name: str, path: str, body: dict[str, Any], key: str = "") -> Any:
        """What a service says to a body; a refusal is a failure."""
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
        request = Request(f"http://127.0.0.1:{self.ports[name]}{path}", json.dumps(body).encode(), headers)
        try:
            with urlopen(request, timeout=60) as answer:
                return json.load(answer)
        except URLError as error:
            detail = error.read().decode(errors="replace") if hasattr(error, "read") else ""
            raise CheckFailed(f"{name} {path}: {error} {detail[:300]}") from None

    def until(self, what: str, done: Callable[[], Any]) -> None:
        """Wait for something, for a while."""
        end = time.monotonic() + PATIENCE_S
        while not done():
            if (process := self._running.get(what)) and process.poll() is not None:
                raise CheckFailed(f"{what} ended with {process.returncode}")
            if time.monotonic() > end:
                raise CheckFailed(f"{what} was not ready within {PATIENCE_S} s")
            time.sleep(0.2)


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def say(text: str) -> None:
    """One line of what is known so far."""
    print(f"stack-smoke: {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
