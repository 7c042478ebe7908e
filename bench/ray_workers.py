"""Two workers on Ray (and two processes) against one process: the same study, the same numbers, and how much sooner.

    python bench/ray_workers.py [--golden techcorp/v1] [--trials 12] [--cases 60] [--rounds 3]

Two studies: one with local readers, where the machine's cores decide, and one with a hosted model that takes 0.3 s to answer, where
waiting does (a double of Bedrock on this machine). The search alone is timed: each round every way searches the same random
configurations with nothing kept from before; starting the workers is told apart. Ways take turns, so that a busy neighbour slows all.
Writes reports/bench/ray.{json,md}.
"""

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import _bench

from harness.golden.load import load_golden
from harness.settings import HarnessSettings, read_settings
from harness.sweep.cost.budget import Budget
from harness.sweep.dispatcher import Dispatcher, FixedPrices
from harness.sweep.engines.base import WorkerPlan
from harness.sweep.engines.worker import make_worker
from harness.sweep.experiment import Experiment
from harness.sweep.folder import SweepFolder
from harness.sweep.progress import SweepProgress
from harness.sweep.search import Search, starting_points
from harness.sweep.setup import connect_engine
from harness.sweep.trial import Trial
from harness.tracking.memory import MemoryRun

WAYS = {"one process": ("local", 1), "two processes": ("local", 2), "two Ray workers": ("ray", 2)}
LATENCY_S = 0.3
NOVA = {"name": "bedrock_converse:amazon.nova-lite-v1:0"}
STUDIES: dict[str, dict[str, Any]] = {
    "local readers": {},
    f"a hosted model, {LATENCY_S:g} s away": {"answer": {"models": {"lite": NOVA, "pro": NOVA}}},
}
SPACE = {
    "retrieve.top_k": {"int": [3, 12]},
    "retrieve.fusion.weight": {"float": [0.2, 0.8]},
    "route.router.pro_above": {"float": [0.1, 0.9]},
    "answer.prompt.version": {"choice": [1, 2, 3]},
}


@dataclass(frozen=True, slots=True)
class Run:
    """What one way took, and what it found."""

    start_s: float
    search_s: float
    found: list[object]


async def search(asked: Experiment, settings: HarnessSettings, folder: Path) -> Run:
    tune = load_golden(settings.datasets, asked.golden).tune()
    plan = WorkerPlan(asked.golden.partition("/")[0], asked.metrics, store=False)
    engine = connect_engine(asked.engine, plan, make_worker(plan))
    dispatcher = Dispatcher(engine, FixedPrices(), Budget(), SweepProgress(asked.trials), asked.block)
    made = Search(asked, dispatcher, SweepFolder(folder), MemoryRun("sweep", "r"))
    begun = time.perf_counter()
    await engine.start()
    try:
        await engine.index(asked.config)
        await asyncio.gather(*(engine.score(asked.config, tune.head(2)) for _ in range(engine.workers)))  # loads the models
        started = time.perf_counter()
        trials = await made.search(tune, starting_points(asked, None))
        ended = time.perf_counter()
    finally:
        await engine.stop()
    return Run(started - begun, ended - started, [numbers(one) for one in trials])


def numbers(one: Trial) -> object:
    return one.number, sorted(one.values.items()), one.objectives, [row.scores for row in one.report.rows]


@contextmanager
def bedrock(home: str) -> Iterator[dict[str, str]]:
    """The settings under which a double of Bedrock is asked; it runs in a process of its own."""
    command = [sys.executable, "-m", "tests.doubles.bedrock", "0", str(LATENCY_S)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as served:
        assert served.stdout is not None
        name, _, url = served.stdout.readline().strip().partition("=")
        keys = {"AWS_ACCESS_KEY_ID": "double", "AWS_SECRET_ACCESS_KEY": "double", "AWS_EC2_METADATA_DISABLED": "true"}
        try:
            yield {name: url, **keys, "TOUCHSTONE_HOME": home, "TOUCHSTONE_THREADS": "1"}  # a worker each, a core each
        finally:
            served.terminate()


def measured(asked: Mapping[str, Any], rounds: int, home: Path) -> dict[str, list[Run]]:
    """Every way, in turn."""
    runs: dict[str, list[Run]] = {name: [] for name in WAYS}
    for turn in range(rounds):
        for name in sorted(WAYS, reverse=turn % 2 == 1):
            engine, workers = WAYS[name]
            study = Experiment.model_validate({**asked, "engine": {"name": engine, "workers": workers}})
            runs[name].append(asyncio.run(search(study, read_settings(), Path(tempfile.mkdtemp(dir=home)))))
            print(turn, name, f"{runs[name][-1].search_s:.1f} s", flush=True)
    return runs


def figures(runs: Mapping[str, list[Run]]) -> dict[str, dict[str, Any]]:
    first = runs["one process"]
    found = {}
    for name, taken in runs.items():
        faster = [one.search_s / other.search_s for one, other in zip(first, taken, strict=True)]
        found[name] = {
            "start_s": round(statistics.median(one.start_s for one in taken), 1),
            "search_s": round(statistics.median(one.search_s for one in taken), 1),
            "faster": [round(one, 2) for one in faster],
            "same": all(one.found == first[0].found for one in taken),
        }
    return found


def markdown(data: dict[str, Any]) -> str:
    parts = [
        "# Workers on Ray",
        f"Machine: {_bench.machine_line(data['machine'])}.",
        f"{data['trials']} trials of {data['cases']} cases of {data['golden']}, random search, four cases at a time in each worker, "
        f"nothing kept from before, medians of {data['rounds']} rounds; the ratio is the median of the rounds' own. Made by "
        f"`python bench/ray_workers.py --trials {data['trials']} --rounds {data['rounds']}`.",
    ]
    for study, ways in data["studies"].items():
        rows = [
            [
                name,
                f"{one['start_s']:.1f}",
                f"{one['search_s']:.1f}",
                f"{statistics.median(one['faster']):.2f}",
                "yes" if one["same"] else "NO",
            ]
            for name, one in ways.items()
        ]
        parts += [f"## With {study}", _bench.table(["", "started in s", "search s", "times as fast", "same numbers"], rows)]
    return "\n\n".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--golden", default="techcorp/v1")
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--cases", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=_bench.REPORTS)
    options = parser.parse_args()
    about = {"name": "ray", "golden": options.golden, "space": SPACE, "sampler": "random", "pruner": {"name": "none"}}
    about |= {"trials": options.trials, "cases": options.cases, "block": 20}
    data = {"machine": _bench.machine("ray", "optuna", "lancedb"), "studies": {}, **vars(options), "out": str(options.out)}
    with tempfile.TemporaryDirectory() as home, bedrock(home) as environment:
        os.environ |= environment
        for study, base in STUDIES.items():
            print(study, flush=True)
            data["studies"][study] = figures(measured({**about, "base": base}, options.rounds, Path(home)))
    _bench.write_report("ray", data, markdown(data), options.out)
    print(markdown(data))


if __name__ == "__main__":
    main()
