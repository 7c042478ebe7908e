"""`make image-smoke`: builds the images without Docker, starts them as nobody on a read-only root, and lets them do their work.

    python -m infra.checks.image_smoke [serving] [harness]

`serving` serves a release that is made here, and answers a question. `harness` says how it is, evaluates, sweeps, builds an index as a job
of a Ray cluster that it starts itself, and runs MLflow's server. BASE=<image> where a registry is at hand; default: a Debian of one's own,
by mmdebstrap.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

from infra.checks.image_contents import holds, packages, sizes
from infra.checks.images import NOBODY, ROOT, Image, opened, refuse
from infra.checks.outcome import CheckFailed, CheckSkipped
from infra.checks.stack_smoke import QUESTION, free_port

Facts = dict[str, Any]
PATIENCE_S = 120
NOT_SERVING = ("mlflow", "optuna", "ragas", "deepeval", "pandas", "scipy", "torch", "ray")
NO_TOOLS = ("gcc", "make", "git")
CONFIG = "experiments/configs/serving.yaml"
ON_RAY = f'touchstone index --corpus "$CORPORA/techcorp" --config {CONFIG} --engine ray --workers 2 --json'  # as in kubernetes/ray-index
IN_RAYS_PODS = {"RAY_ADDRESS": "auto", "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "of-this-trial-alone"}
RAY_SAYS = ("gcs: success", "without a token: 401", "job: SUCCEEDED", '"documents"')


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when every image did its work; 0 with a word where nothing can be tried; 1 when something failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", nargs="*", choices=[*TRIALS, []], help="which; default: serving")
    chosen = parser.parse_args(arguments)
    try:
        refuse()
        for name in chosen.images or ["serving"]:
            tried(name)
    except CheckSkipped as reason:
        say(f"skipped: {reason}")
    except CheckFailed as failure:
        say(f"failed: {failure}")
        return 1
    else:
        say("passed")
    return 0


def tried(name: str, *, starts: int = 1) -> Facts:
    """Build an image, look at what is in it, and let it do its work: what was found."""
    say(f"building the image {name}")
    with opened(name) as image, tempfile.TemporaryDirectory(prefix="touchstone-image-") as folder:
        Path(folder).chmod(0o755)
        say(f"built in {image.built_s:.0f} s")
        look_over(image)
        found = sizes(image.root)
        say(f"size: {found['all']:.0f} MB unpacked, of these {found['packages']:.0f} MB packages, {found['base']:.0f} MB the base")
        facts = TRIALS[name](image, Path(folder), starts)
        return {"sizes_mb": found, "packages_mb": packages(image.root), "built_s": round(image.built_s), **facts}


def look_over(image: Image) -> None:
    """Whether it runs as nobody, says what it was built of, and holds nothing that it should not."""
    if image.config.get("User") != f"{NOBODY}:{NOBODY}":
        raise CheckFailed(f"it runs as {image.config.get('User') or 'root'}, and not as {NOBODY}:{NOBODY}")
    if image.commit not in image.config.get("Labels", {}).values():
        raise CheckFailed("no label names the commit")
    unwanted = NOT_SERVING if "serving" in image.name else ("torch",)
    if found := holds(image.root, unwanted, NO_TOOLS):
        raise CheckFailed(f"it holds {', '.join(found)}")


def serve(image: Image, folder: Path, starts: int) -> Facts:
    """Serve a release made here, and ask it: how long it takes to be ready, and what memory it needs."""
    data = folder / "data"
    own = {"TOUCHSTONE_HOME": str(data), "TOUCHSTONE_RELEASES": str(data / "releases"), "TOUCHSTONE_LOOKS": str(folder / "looks.jsonl")}
    own["TOUCHSTONE_REPORTS"] = str(folder / "reports")
    touchstone(own, "promote", CONFIG, "--force", "--why", "the image is tried")
    key = json.loads(touchstone(own, "key", "create", "smoke", "--keys", str(data / "keys.yaml"), "--json"))["key"]
    give(data)
    home = next(one.partition("=")[2] for one in image.config["Env"] if one.startswith("HOME="))
    settings = {"TOUCHSTONE_RELEASES": f"{home}/releases", "TOUCHSTONE_API_KEYS": f"{home}/keys.yaml"}
    times, facts = [], Facts()
    for _ in range(starts):
        port, began = free_port(), monotonic()
        command = [*image.config["Entrypoint"], "--host", "0.0.0.0", "--port", str(port)]
        with running(image, command, folder / "serving.log", writable={home: data}, environment=settings) as process:
            until(process, folder / "serving.log", lambda port=port: ask(port, "/readyz").get("current"))
            times.append(monotonic() - began)
            facts["ready_mb"] = memory_mb(process.pid)
            answer = ask(port, "/v1/query", {"question": QUESTION}, key)
            if not answer.get("citations"):
                raise CheckFailed(f"the answer cites nothing: {answer}")
            facts["asked_mb"] = memory_mb(process.pid)
    say(f"asked: {QUESTION} — {answer['answer']} — cites {', '.join(sorted({one['document'] for one in answer['citations']}))}")
    say(f"start to ready: {min(times):.2f} s, memory {facts['ready_mb']} MB, after the question {facts['asked_mb']} MB")
    return {"ready_s": [round(one, 2) for one in times], **facts}


def decide(image: Image, folder: Path, starts: int) -> Facts:
    """Let it say how it is, evaluate, sweep, build an index on Ray, and run MLflow's server."""
    work = folder / "work"
    work.mkdir()
    give(work)
    writable = {"/work": work}
    settings = {"TOUCHSTONE_REPORTS": "/work/reports", "TOUCHSTONE_LOOKS": "/work/looks.jsonl", "TOUCHSTONE_ASSUME_YES": "true"}
    seconds = {}
    for name, command in {
        "doctor": ["touchstone", "doctor"],
        "eval": ["touchstone", "eval", "--config", CONFIG, "--cases", "10", "--name", "image"],
        "sweep": ["touchstone", "sweep", "experiments/quickstart.yaml", "--trials", "2", "--yes"],
    }.items():
        began = monotonic()
        image.run(command, writable=writable, environment=settings)
        seconds[name] = round(monotonic() - began, 1)
        say(f"{' '.join(command[:3])}: {seconds[name]} s")
    began = monotonic()
    shutil.copy(ROOT / "infra/docker/ray_trial.py", work)
    ports = [str(free_port()) for _ in range(3)]
    corpora = {"CORPORA": f"{image.config['WorkingDir']}/datasets/corpora"}
    said = image.run(["python", "/work/ray_trial.py", *ports, ON_RAY], writable=writable, environment=settings | corpora | IN_RAYS_PODS)
    if missing := [words for words in RAY_SAYS if words not in said]:
        raise CheckFailed(f"the index was not built on Ray, which did not say {missing}: {said[-1500:]}")
    seconds["index on Ray"] = round(monotonic() - began, 1)
    say(f"an index built as a job of a Ray cluster with a token: {seconds['index on Ray']} s")
    return {"seconds": seconds, "mlflow": mlflow(image, folder, writable)}


def mlflow(image: Image, folder: Path, writable: Mapping[str, Path]) -> Facts:
    """MLflow's server as infra/kubernetes/mlflow starts it, on a database of its own."""
    port, began = free_port(), monotonic()
    settings = {"MLFLOW_BACKEND_STORE_URI": "sqlite:////work/mlflow.db", "MLFLOW_ARTIFACTS_DESTINATION": "/work/artifacts"}
    command = ["mlflow", "server", "--host=127.0.0.1", f"--port={port}", "--workers=2"]
    own = settings | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with running(image, command, folder / "mlflow.log", writable=writable, environment=own) as process:
        until(process, folder / "mlflow.log", lambda: ask(port, "/health"))
        facts = {"ready_s": round(monotonic() - began, 1), "memory_mb": memory_mb(process.pid)}
    say(f"MLflow's server: ready in {facts['ready_s']} s, {facts['memory_mb']} MB")
    return facts


TRIALS: dict[str, Callable[[Image, Path, int], Facts]] = {"serving": serve, "harness": decide}


@contextmanager
def running(image: Image, command: Sequence[str], log: Path, **how: Any) -> Iterator["subprocess.Popen[bytes]"]:
    """A command in the image, ended when it is left."""
    with log.open("wb") as output:
        process = subprocess.Popen(image.words(command, **how), stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def until(process: "subprocess.Popen[bytes]", log: Path, done: Callable[[], Any]) -> None:
    """Wait until something is so, or the process has ended."""
    end = monotonic() + PATIENCE_S
    while not done():
        if process.poll() is not None or monotonic() > end:
            raise CheckFailed(
                f"it {'ended' if process.poll() is not None else 'did not become ready'}: {log.read_text(errors='replace')[-1500:]}"
            )
        sleep(0.05)


def ask(port: int, path: str, body: Mapping[str, Any] | None = None, key: str = "") -> Facts:
    """What a server says; nothing while it does not answer, or says no."""
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
    request = Request(f"http://127.0.0.1:{port}{path}", json.dumps(body).encode() if body else None, headers)
    try:
        with urlopen(request, timeout=60) as answer:
            text = answer.read()
    except (URLError, OSError):
        return {}
    try:
        return dict(json.loads(text))
    except (ValueError, TypeError):
        return {"said": text.decode()}


def memory_mb(pid: int) -> int:
    """What a process and all that it started hold in memory."""
    parents: dict[int, int] = {}
    held: dict[int, int] = {}
    for line in subprocess.run(["ps", "-e", "-o", "pid=,ppid=,rss="], capture_output=True, text=True, check=True).stdout.splitlines():
        one, parent, rss = map(int, line.split())
        parents[one], held[one] = parent, rss
    family = {pid}
    while more := {one for one, parent in parents.items() if parent in family} - family:
        family |= more
    return round(sum(held.get(one, 0) for one in family) / 1024)


def touchstone(own: Mapping[str, str], *words: str) -> str:
    """Run a command of ours here; its output."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("TOUCHSTONE_", "MLFLOW_"))}
    command = [str(Path(sys.executable).parent / "touchstone"), *words]
    done = subprocess.run(command, env=plain | dict(own), cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CheckFailed(f"touchstone {words[0]} ended with {done.returncode}: {done.stderr.strip()[-500:]}")
    return done.stdout


def give(folder: Path) -> None:
    """Make a folder and all in it the image's account's."""
    for path in (folder, *folder.rglob("*")):
        shutil.chown(path, int(NOBODY), int(NOBODY))


def say(text: str) -> None:
    """One line of what is known so far."""
    print(f"image-smoke: {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
