"""Two workers on Ray (and two processes) against one process: the same study, the same numbers, and how much sooner.

    python bench/ray_workers.py [--golden techcorp/v1] [--trials 12] [--cases 60] [--rounds 3]

The search alone is timed: each round every way searches the same random configurations with nothing kept from before; starting the
workers is told apart. Engines take turns, so that a busy neighbour slows all. Writes reports/bench/ray.{json,md}.
"""

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import _bench

from harness.golden.load import load_golden
from harness.opening import read_settings
from harness.settings import HarnessSettings
from harness.sweep.begin import connect_engine
from harness.sweep.budget import Purse
from harness.sweep.engines.base import Plan
from harness.sweep.engines.worker import make_worker
from harness.sweep.experiment import Experiment
from harness.sweep.folder import SweepFolder
from harness.sweep.search import Search
from harness.sweep.sweep import firsts
from harness.sweep.trial import Tried
from harness.tracking.memory import MemoryRun

WAYS = {"one process": ("local", 1), "two processes": ("local", 2), "two Ray workers": ("ray", 2)}
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


async def search(asked: Experiment, places: HarnessSettings, folder: Path) -> Run:
    tune = load_golden(places.datasets, asked.golden).tune()
    plan = Plan(asked.golden.partition("/")[0], asked.metrics, store=False)
    engine = connect_engine(asked.engine, plan, make_worker(plan))
    made = Search(asked, engine, SweepFolder(folder), MemoryRun("sweep", "r"), Purse(None, 0.0))
    begun = time.perf_counter()
    await engine.start()
    try:
        await engine.index(asked.config)
        await asyncio.gather(*(engine.score(asked.config, tune.head(2)) for _ in range(engine.workers)))  # loads the models
        started = time.perf_counter()
        trials = await made.search(tune, firsts(asked, None))
        ended = time.perf_counter()
    finally:
        await engine.stop()
    return Run(started - begun, ended - started, [numbers(one) for one in trials])


def numbers(one: Tried) -> object:
    return one.number, sorted(one.values.items()), one.objectives, [row.scores for row in one.report.rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--golden", default="techcorp/v1")
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--cases", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=_bench.REPORTS)
    arguments = parser.parse_args()
    about = {"name": "ray", "golden": arguments.golden, "space": SPACE, "sampler": "random", "pruner": {"name": "none"}}
    size = {"trials": arguments.trials, "cases": arguments.cases, "block": 20}
    runs: dict[str, list[Run]] = {name: [] for name in WAYS}
    with tempfile.TemporaryDirectory() as home:
        os.environ |= {"TOUCHSTONE_HOME": home, "TOUCHSTONE_THREADS": "1"}  # a worker each, a core each
        for turn in range(arguments.rounds):
            for name in sorted(WAYS, reverse=turn % 2 == 1):
                engine, workers = WAYS[name]
                asked = Experiment.model_validate({**about, **size, "engine": {"name": engine, "workers": workers}})
                runs[name].append(asyncio.run(search(asked, read_settings(), Path(home) / f"{turn}-{engine}-{workers}")))
                print(turn, name, f"{runs[name][-1].search_s:.1f} s", flush=True)
    facts = _bench.machine("ray", "optuna", "lancedb")
    first = runs["one process"]
    rows, figures = [], {}
    for name, taken in runs.items():
        faster = [one.search_s / other.search_s for one, other in zip(first, taken, strict=True)]
        same = all(one.found == first[0].found for one in taken)
        start, seconds = (statistics.median(getattr(one, field) for one in taken) for field in ("start_s", "search_s"))
        figures[name] = {
            "start_s": round(start, 1),
            "search_s": round(seconds, 1),
            "faster": [round(one, 2) for one in faster],
            "same": same,
        }
        rows.append([name, f"{start:.1f}", f"{seconds:.1f}", f"{statistics.median(faster):.2f}", "yes" if same else "NO"])
    head = ["", "started in s", "search s", "times as fast", "same numbers"]
    lines = [
        "# Workers on Ray",
        "",
        f"Machine: {_bench.machine_line(facts)}.",
        "",
        f"{arguments.trials} trials of {arguments.cases} cases of {arguments.golden}, random search, nothing kept from before, medians of",
        f"{arguments.rounds} rounds; the ratio is the median of the rounds' own. Made by `python bench/ray_workers.py`.",
        "",
        _bench.table(head, rows),
    ]
    _bench.write_report("ray", {"machine": facts, "study": {**about, **size}, "ways": figures}, "\n".join(lines), arguments.out)
    print("\n".join(lines))


if __name__ == "__main__":
    main()
