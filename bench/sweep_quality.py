"""How near the best of a whole grid a search gets for a part of its price: the sweep's own search, random, and stage by stage.

    python bench/sweep_quality.py [PATH …] [--golden techcorp/v1] [--runs 30] [--tables FOLDER] [--out reports/bench]

First every point of a grid is scored on tune and holdout cases, once, into a table (in `--tables`; what it holds is not scored again).
Then searches are run on that table: the sweep's own optimizer and pruner, given the table's scores instead of answers. There is a grid
of whole answers on a golden set of this project, and one of retrieval on each PATH, a folder with `corpus.jsonl` and `golden.jsonl`
that `touchstone golden import` takes.
"""

import argparse
import asyncio
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from _bench import machine, machine_line, table, write_report
from scipy import stats

from harness.evaluation.context import open_context
from harness.golden.load import load_golden
from harness.golden.sets import Split
from harness.settings import HarnessSettings, read_settings
from harness.stats import compare_paired, minimum_detectable
from harness.sweep.experiment import Experiment
from harness.sweep.optimizer.optimizer import ATTEMPTS, Optimizer, Suggestion
from harness.sweep.prune import Pruner, Reference
from harness.sweep.race import Race
from harness.sweep.space.suggest import grid, values_at
from harness.sweep.trial import Trial

SHARES = (0.1, 0.2, 0.4)  # of the grid's case evaluations
Values = Mapping[str, Any]


@dataclass(frozen=True)
class Grid:
    """What is searched."""

    metric: str
    base: dict[str, Any]
    space: dict[str, Any]
    stages: tuple[tuple[str, ...], ...]  # in the order in which a question passes them; all combinations of a stage's knobs are its options
    cases: int | None  # of the tune split

    def experiment(self, golden: str, **changes: Any) -> Experiment:
        """The grid as the sweep sees it."""
        fields = {"name": "grid", "golden": golden, "base": self.base, "space": self.space, "metrics": [self.metric], "trials": 10_000}
        return Experiment.model_validate({**fields, "objective": self.metric, **changes})


SEARCH: dict[str, Any] = {
    "retrieve.search.name": {"choice": ["hybrid", "vector", "keyword"]},
    "retrieve.fusion.weight": {"float": [0.1, 0.9], "step": 0.2, "when": {"retrieve.search.name": "hybrid"}},
}
WEIGHTED = {"name": "weighted", "weight": 0.5}
ANSWERS = Grid(
    metric="quality",
    base={
        "index": {"chunker": {"name": "recursive", "size": 900, "overlap": 60}},
        "retrieve": {"fusion": WEIGHTED, "top_k": 4},
        "route": {"router": {"name": "rules", "pro_above": 0.6, "pro_domains": []}},
    },
    space={
        "index.chunker.size": {"choice": [250, 400, 600, 900]},
        **SEARCH,
        "retrieve.duplicate_similarity": {"choice": [0.7, 0.95]},
        "retrieve.top_k": {"choice": [2, 4, 7]},
        "route.router.pro_above": {"choice": [0.6, 1.0]},
    },
    stages=(
        ("index.chunker.size",),
        ("retrieve.search.name", "retrieve.fusion.weight"),
        ("retrieve.duplicate_similarity",),
        ("retrieve.top_k",),
        ("route.router.pro_above",),
    ),
    cases=120,
)
RETRIEVAL = Grid(
    metric="ndcg@10",
    base={
        "index": {"chunker": {"name": "recursive", "size": 1100, "overlap": 0}},
        "retrieve": {"fusion": WEIGHTED, "top_k": 10, "candidates": 40, "duplicate_similarity": 0.95},
        "route": {"router": {"name": "always", "tier": "lite"}},
        "answer": {"models": {"lite": {"name": "local:echo", "text": "."}}},
    },
    space={
        "index.chunker.size": {"choice": [250, 450, 1100]},
        **SEARCH,
        "retrieve.candidates": {"choice": [10, 15, 20, 30, 40, 60]},
        "retrieve.duplicate_similarity": {"choice": [0.7, 0.95]},
    },
    stages=(
        ("index.chunker.size",),
        ("retrieve.search.name", "retrieve.fusion.weight"),
        ("retrieve.candidates",),
        ("retrieve.duplicate_similarity",),
    ),
    cases=None,
)


def key(values: Values) -> str:
    return json.dumps(dict(values), sort_keys=True)


# ---- the table


async def fill(path: Path, grid_of: Grid, golden_name: str, settings: HarnessSettings) -> None:
    """Score what is missing; a line per configuration."""
    golden = load_golden(settings.datasets, golden_name)
    asked = grid_of.experiment(golden_name)
    splits: list[Split] = [golden.tune().head(grid_of.cases), golden.holdout(why="bench", ledger=path.with_suffix(".looks"))]
    context = open_context(golden.card.corpus, settings)
    factory, evaluator = context.factory, context.evaluator((grid_of.metric,), concurrency=2)
    known = {key(row["values"]) for row in lines(path)}
    points = sorted(grid(asked), key=lambda values: [str(values.get(name)) for name in grid_of.space])  # neighbours share an index
    path.parent.mkdir(parents=True, exist_ok=True)
    for number, values in enumerate(points, start=1):
        if key(values) in known:
            continue
        begin, config = time.perf_counter(), asked.apply(values)
        reports = [await factory.evaluate(config, split, evaluator) for split in splits]
        assert not any(report.errors for report in reports)
        tune, holdout = ([row.value(grid_of.metric) or 0.0 for row in report.rows] for report in reports)
        ids = [[row.case.id for row in report.rows] for report in reports]
        with path.open("a") as file:
            file.write(json.dumps({"values": values, "tune": tune, "holdout": holdout, "ids": ids}) + "\n")
        print(f"{number}/{len(points)} {values} {time.perf_counter() - begin:.1f} s", flush=True)


def lines(path: Path) -> Iterator[dict[str, Any]]:
    if path.exists():
        yield from map(json.loads, path.read_text().splitlines())


class Row:
    """A case of a report, as the pruner reads it."""

    def __init__(self, number: int, value: float) -> None:
        self.case = SimpleNamespace(id=str(number))
        self._value = value

    def value(self, metric: str) -> float:
        return self._value


@dataclass(frozen=True)
class Truth:
    """Every point of the grid with its scores."""

    tune: Mapping[str, Sequence[float]]
    holdout: Mapping[str, Sequence[float]]
    rows: Mapping[str, list[Row]]
    values: Mapping[str, Values]

    @classmethod
    def read(cls, path: Path) -> "Truth":
        found = list(lines(path))
        tune = {key(row["values"]): row["tune"] for row in found}
        rows = {name: [Row(number, value) for number, value in enumerate(scores)] for name, scores in tune.items()}
        return cls(tune, {key(row["values"]): row["holdout"] for row in found}, rows, {key(row["values"]): row["values"] for row in found})

    @property
    def cases(self) -> int:
        return len(next(iter(self.tune.values())))

    @property
    def best(self) -> str:
        """What searching the whole grid would choose."""
        return max(self.tune, key=lambda name: (self.mean(name), name))

    def mean(self, name: str) -> float:
        return float(np.mean(self.tune[name]))

    def proven(self, name: str) -> float:
        return float(np.mean(self.holdout[name]))


# ---- searches: each yields (case evaluations so far, configuration completed)

Seen = Iterator[tuple[int, str]]


def by_optimizer(truth: Truth, asked: Experiment, make: Callable[[Experiment], Optimizer] = Optimizer) -> Seen:
    """As `harness.sweep.search` goes about it, base first, one trial after the other."""
    optimizer, spent, count = make(asked), 0, truth.cases
    pruner = (Race if asked.pruner.name == "race" else Pruner)(asked.pruner, asked.goal, True)
    first = values_at(asked, asked.config.flat())
    assert first is not None
    seen, finished = {key(first)}, {key(first): truth.mean(key(first))}
    optimizer.replay(Trial(0, first, asked.config, _report(truth, key(first)), (truth.mean(key(first)),)))
    spent += count
    yield spent, key(first)
    for number in range(1, min(asked.trials, len(truth.tune))):
        one = _new(optimizer, number, seen)
        if one is None:
            return
        name, why, parts = key(one.values), "", []
        best = max(finished, key=lambda other: finished[other]) if asked.pruner.against == "best" else key(first)
        chosen_from = len(finished) if asked.pruner.against == "best" else 1
        others = (
            tuple(SimpleNamespace(rows=truth.rows[other]) for other in finished if other != best) if asked.pruner.name == "race" else ()
        )
        reference = Reference(SimpleNamespace(rows=truth.rows[best]), best, chosen_from, others)  # type: ignore[arg-type]
        for begin in range(0, count, asked.block):
            parts.append(SimpleNamespace(rows=truth.rows[name][begin : begin + asked.block]))
            spent += len(parts[-1].rows)
            if begin + asked.block < count and (why := pruner.reason(parts, reference)):  # type: ignore[arg-type]
                break
        seen_cases = sum(len(part.rows) for part in parts)
        mean, state = float(np.mean(truth.tune[name][:seen_cases])), "pruned" if why else "complete"
        optimizer.tell(one, Trial(number, one.values, asked.config, _report(truth, name, seen_cases), (mean,), state=state))  # type: ignore[arg-type]
        if not why:
            finished[name] = mean
            yield spent, name
    yield spent, key(first)  # with what was spent on the last ones, should they have been given up


def _report(truth: Truth, name: str, count: int | None = None) -> Any:
    """A report of the first cases, as far as a search looks into it."""
    return SimpleNamespace(rows=truth.rows[name][:count])


def _new(optimizer: Optimizer, number: int, seen: set[str]) -> Suggestion | None:
    for attempt in range(ATTEMPTS):
        one = optimizer.ask(number, attempt)
        if one is None:
            return None
        if key(one.values) not in seen:
            seen.add(key(one.values))
            return one
        optimizer.drop(one)
    return None


def by_chance(truth: Truth, seed: int) -> Seen:
    """Without replacement, every case of each."""
    names = sorted(truth.tune)
    random.Random(seed).shuffle(names)
    yield from ((truth.cases * number, name) for number, name in enumerate(names, start=1))


def by_stage(truth: Truth, stages: Sequence[Sequence[str]], seed: int, *, passes: int = 10_000) -> Seen:
    """Every option of a stage with the rest as it stands, the best one stays; then the next stage. What is known costs nothing.

    With money left after a pass it goes round again, and when nothing changes any more it starts elsewhere.
    """
    rng, seen = random.Random(seed), set[str]()
    names = sorted(truth.tune)
    for _ in range(passes):
        at = truth.values[rng.choice(names)]
        while True:
            before = at
            for stage in stages:
                rest = {path: value for path, value in at.items() if path not in stage}
                options = [name for name in names if {p: v for p, v in truth.values[name].items() if p not in stage} == rest]
                for name in options:
                    if name not in seen:
                        seen.add(name)
                        yield truth.cases * len(seen), name
                at = truth.values[max(options, key=truth.mean)]
            if at == before or passes == 1:
                break


# ---- regrets


def chosen(truth: Truth, seen: Seen, budgets: Sequence[float]) -> list[str]:
    """The best on tune of what completed within each budget."""
    found: list[str] = []
    best, waiting = "", list(budgets)
    for spent, name in seen:
        while waiting and spent > waiting[0]:
            found.append(best)
            waiting.pop(0)
        if not waiting:
            break
        best = name if not best or truth.mean(name) > truth.mean(best) else best
    return found + [best] * len(waiting)


def interval(values: Sequence[float]) -> tuple[float, float]:
    """A mean over runs, and half its 95 % interval."""
    return float(np.mean(values)), float(stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values)))


def ways(grid_of: Grid, golden: str) -> dict[str, Callable[[Truth, int], Seen]]:
    def ours(**changes: Any) -> Callable[[Truth, int], Seen]:
        return lambda truth, seed: by_optimizer(truth, grid_of.experiment(golden, seed=seed, **changes))

    return {
        "the default: TPE and steps, with pruning": ours(),
        "the same without pruning": ours(pruner={"name": "none"}),
        "TPE alone, with pruning": ours(sampler="tpe"),
        "random by knob, base first, with pruning": ours(sampler="random"),
        "random points": by_chance,
        "stage by stage": lambda truth, seed: by_stage(truth, grid_of.stages, seed),
    }


_read = cache(Truth.read)  # by each process once


def _pick(task: tuple[Path, Grid, str, str, int, list[float]]) -> list[str]:
    """What one search chooses within each budget, in a process of its own."""
    path, grid_of, golden, way, seed, budgets = task
    truth = _read(path)
    return chosen(truth, ways(grid_of, golden)[way](truth, seed), budgets)


def measure(path: Path, grid_of: Grid, golden: str, seeds: Sequence[int]) -> list[dict[str, Any]]:
    truth = _read(path)
    budgets = [share * len(truth.tune) * truth.cases for share in SHARES]
    best, names = truth.best, list(ways(grid_of, golden))
    tasks = [(path, grid_of, golden, way, seed, budgets) for way in names for seed in seeds]
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        found = list(pool.map(_pick, tasks, chunksize=5))
    picks = {way: found[place * len(seeds) : (place + 1) * len(seeds)] for place, way in enumerate(names)}
    rows = []
    for place, share in enumerate(SHARES):
        by_luck = [truth.proven(pick[place]) for pick in picks["random points"]]
        for way, found in picks.items():
            some = [pick[place] for pick in found]
            worse = [compare_paired(truth.holdout[best], truth.holdout[name]).outcome == "worse" for name in some]
            row = {"way": way, "share": share, "tune": interval([truth.mean(best) - truth.mean(name) for name in some])}
            row["holdout"] = interval([truth.proven(best) - truth.proven(name) for name in some])
            row["over_random"] = interval([truth.proven(name) - luck for name, luck in zip(some, by_luck, strict=True)])
            rows.append({**row, "worse": float(np.mean(worse)), "found": float(np.mean([name == best for name in some]))})
    return rows


def one_pass(truth: Truth, stages: Sequence[Sequence[str]], seeds: Sequence[int]) -> dict[str, Any]:
    """Stage by stage as it is usually done: once through."""
    runs = [list(by_stage(truth, stages, seed, passes=1)) for seed in seeds]
    ends = [max((name for _, name in run), key=truth.mean) for run in runs]
    found = {"share": float(np.mean([run[-1][0] for run in runs]) / len(truth.tune) / truth.cases)}
    found["tune"] = interval([truth.mean(truth.best) - truth.mean(name) for name in ends])
    return found | {"holdout": interval([truth.proven(truth.best) - truth.proven(name) for name in ends])}


def points(pair: Sequence[float]) -> str:
    return f"{100 * pair[0]:.2f} ± {100 * pair[1]:.2f}"


def part(data: dict[str, Any]) -> list[str]:
    """One grid's section."""
    rows = [
        [f"{row['share']:.0%}", row["way"], points(row["tune"]), points(row["holdout"]), points(row["over_random"]), f"{row['worse']:.0%}"]
        for row in data["rows"]
    ]
    single, facts, metric = data["one_pass"], data["grid"], data["metric"]
    return [
        f"## `{metric}` on {data['golden']}",
        f"{facts['points']} configurations × {facts['tune']} tune cases and {facts['holdout']} holdout cases, all scored. On tune "
        f"`{metric}` runs from {facts['low']:.3f} to {facts['high']:.3f} (median {facts['median']:.3f}). The best there has "
        f"{facts['proven']:.3f} on the holdout, where the grid runs from {facts['holdout_low']:.3f} to {facts['holdout_high']:.3f}; that "
        "many holdout cases show a difference between the best and the median configuration from "
        f"{facts['detectable']:.3f} on.",
        table(["case evaluations", "search", "regret on tune", "on the holdout", "holdout: above random points", "called worse"], rows),
        f"Stage by stage, once through, costs {single['share']:.1%} of the grid and ends {points(single['tune'])} points below the best "
        f"on tune, {points(single['holdout'])} on the holdout. In the table it goes round again, and starts elsewhere when nothing "
        "changes any more, as long as there is money.",
    ]


def markdown(data: dict[str, Any]) -> str:
    return "\n\n".join(
        [
            "# How near the grid's best a search gets",
            f"Machine: {machine_line(data['machine'])}. {data['runs']} seeded searches of each kind on each table. Made by "
            "`python bench/sweep_quality.py PATH …`, a PATH for each grid after the first.",
            "Regret is what the chosen configuration (best on tune of those seen to their end) lacks to the grid's best on tune, in points "
            "(hundredths), on tune and on the holdout; after ± the 95 % interval over searches. A negative one on the holdout is luck. The "
            "last column: searches whose choice a paired test on the holdout calls worse than the grid's best.",
            *(text for one in data["grids"] for text in part(one)),
            "The optimizer begins with the base and draws each knob evenly before it has learned, so a search that is one choice of three "
            "gets a third of its first trials; “random points” draws evenly from the grid, where hybrid search with its weights has five "
            "points of seven.",
        ]
    )


def imported(path: Path, folder: Path) -> tuple[str, HarnessSettings]:
    """A folder's questions as a golden set in a place of its own."""
    settings = read_settings().model_copy(update={"datasets": folder / "datasets"})
    if not (settings.datasets / "golden" / path.name).is_dir():
        command = [sys.executable, "-m", "harness", "golden", "import", str(path), "--name", path.name]
        environment = os.environ | {"TOUCHSTONE_DATASETS": str(settings.datasets), "PYTHONPATH": str(Path.cwd())}
        subprocess.run(command, env=environment, check=True)
    return f"{path.name}/v1", settings


def measured(grid_of: Grid, golden: str, settings: HarnessSettings, folder: Path, seeds: Sequence[int]) -> dict[str, Any]:
    """One grid: its table filled, then searched."""
    path = folder / f"{golden.replace('/', '-')}.jsonl"
    asyncio.run(fill(path, grid_of, golden, settings))
    truth = _read(path)
    means, proven = sorted(map(truth.mean, truth.tune)), sorted(map(truth.proven, truth.tune))
    middle = sorted(truth.tune, key=truth.mean)[len(truth.tune) // 2]
    spread = float(np.std(np.subtract(truth.holdout[truth.best], truth.holdout[middle]), ddof=1))
    facts: dict[str, Any] = {"points": len(means), "tune": truth.cases, "holdout": len(truth.holdout[middle]), "low": means[0]}
    facts |= {"high": means[-1], "median": float(np.median(means)), "proven": truth.proven(truth.best), "holdout_low": proven[0]}
    facts |= {"holdout_high": proven[-1], "detectable": minimum_detectable(spread, facts["holdout"]), "best": truth.values[truth.best]}
    found = {"golden": golden, "metric": grid_of.metric, "grid": facts, "rows": measure(path, grid_of, golden, seeds)}
    return found | {"one_pass": one_pass(truth, grid_of.stages, seeds)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", type=Path, nargs="*")
    parser.add_argument("--golden", default="techcorp/v1")
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0, help="of the first run")
    parser.add_argument("--tables", type=Path, default=Path(".touchstone/bench"))
    parser.add_argument("--out", type=Path, default=Path("reports/bench"))
    options = parser.parse_args()
    seeds = range(options.seed, options.seed + options.runs)
    grids = [(ANSWERS, options.golden, read_settings())] + [(RETRIEVAL, *imported(path, options.tables)) for path in options.paths]
    found = [measured(grid_of, golden, settings, options.tables, seeds) for grid_of, golden, settings in grids]
    data = {"machine": machine("optuna", "onnxruntime"), "runs": options.runs, "grids": found}
    write_report("sweep_quality", data, markdown(data), options.out)
    print(markdown(data))


if __name__ == "__main__":
    main()
