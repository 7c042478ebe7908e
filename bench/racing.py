"""What racing costs and what it loses: beside the sweep's search as it is by default, on recorded scores and on simulated ones.

    python bench/racing.py [TABLE …] [--runs 30] [--trials 60] [--repetitions 2000] [--out reports/bench]

A TABLE is a grid of whose every configuration every tune case was scored: `bench/sweep_quality.py` writes such files to
`.touchstone/bench`, and those are read where none is named. Each run has another seed and another order of the cases. First, how often
racing drops what it must not: a configuration that ends exactly as high as the one it is compared with, and the best of a simulated
search.
"""

import argparse
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from _bench import machine, machine_line, table, write_report
from numpy.typing import NDArray
from pruning import SPREAD, WORLDS, World, search, sequential
from sweep_quality import ANSWERS, RETRIEVAL, Grid, Row, Truth, by_optimizer, lines

from harness.stats.catch_up import MOST_LOST, cannot_catch_up
from harness.stats.sequential import STAKES
from harness.sweep.experiment import Pruning
from harness.sweep.race import FORECASTERS

SEED = 20261129
NEAR = 0.002  # of the winner's mean: as good as the same winner
COUNTS = (80, 250)
TRIALS = 30  # of a simulated search
GRIDS = {ANSWERS.metric: ANSWERS, RETRIEVAL.metric: RETRIEVAL}
ALPHA = Pruning().alpha

Scores = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Searched:
    """What one search came to."""

    spent: int  # case evaluations
    winner: str
    finished: tuple[str, ...]
    reached: int | None  # evaluations until the best so far was as good as the grid's best


# ---- on recorded scores


def shuffled(truth: Truth, seed: int) -> Truth:
    """The same scores with the cases in another order."""
    order = np.random.default_rng([SEED, seed]).permutation(truth.cases)
    tune = {name: [scores[place] for place in order] for name, scores in truth.tune.items()}
    rows = {name: [Row(number, value) for number, value in enumerate(scores)] for name, scores in tune.items()}
    return Truth(tune, {}, rows, truth.values)


def swept(truth: Truth, grid_of: Grid, seed: int, **changes: Any) -> Searched:
    """The sweep's own search."""
    spent, finished, reached, least = 0, dict[str, None](), None, truth.mean(truth.best) - NEAR
    for spent, name in by_optimizer(truth, grid_of.experiment("bench", seed=seed, **changes)):
        finished[name] = None
        reached = spent if reached is None and truth.mean(name) >= least else reached
    return Searched(spent, max(finished, key=truth.mean), tuple(finished), reached)


def drawn(truth: Truth, seed: int, trials: int) -> Scores:
    """As many configurations at random, for what needs all of them from the beginning."""
    names = np.random.default_rng([SEED, seed, 1]).permutation(sorted(truth.tune))[:trials]
    return np.array([truth.tune[name] for name in names])


def one_by_one(scores: Scores, look: int) -> tuple[int, int, NDArray[np.bool_]]:
    """Racing as it is shipped, on given configurations: evaluations, the winner's place, who was dropped."""
    trials, count = scores.shape
    means, finished, spent, dropped = scores.mean(axis=1), [0], count, np.zeros(trials, dtype=bool)
    for trial in range(1, trials):
        best = max(finished, key=lambda place: means[place])
        known = scores[[best, *[place for place in finished if place != best][-FORECASTERS:]]]
        gone = next((at for at in range(look, count, look) if cannot_catch_up(scores[trial, :at], means[best], known, ALPHA)), None)
        spent += gone or count
        dropped[trial] = gone is not None
        finished += [] if gone else [trial]
    return spent, max(finished, key=lambda place: means[place]), dropped


def side_by_side(scores: Scores, look: int) -> tuple[int, int]:
    """All live ones shard by shard; each is compared with who led before the shard, so alpha is not divided either."""
    trials, count = scores.shape
    live, spent, total = np.ones(trials, dtype=bool), 0, np.zeros(trials)
    grown = np.zeros((trials, len(STAKES)))
    for begin in range(0, count, look):
        some = np.flatnonzero(live)
        end = min(begin + look, count)
        leader = some[np.argmax(total[some])]
        for case in range(begin, end):
            ahead, other = total[leader], scores[leader, case]
            if begin == 0:  # nobody leads yet: the mean of all
                ahead, other = total[some].mean(), scores[some, case].mean()
            least = (ahead - total[some]) / (count - case)  # by which the rest must bring more, on average
            stakes = np.minimum(STAKES[None, :], MOST_LOST / np.maximum(1 - least, 1e-9)[:, None])
            grown[some] += np.log1p(-stakes * (scores[some, case] - other - least)[:, None])
            total += scores[:, case] * live
        spent += (end - begin) * len(some)
        if end < count:
            lost = np.logaddexp.reduce(grown, axis=1) - np.log(len(STAKES)) >= -np.log(ALPHA)
            lost[some[np.argmax(total[some])]] = False
            live &= ~lost
        if live.sum() == 1:
            break
    some = np.flatnonzero(live)
    return spent, int(some[np.argmax(total[some])])


def halving(scores: Scores, first: int) -> tuple[int, int]:
    """The better half after ever twice as many cases: no promise, but a price that is known."""
    live, seen, spent, at = np.arange(len(scores)), 0, 0, first
    while True:
        at = min(at, scores.shape[1])
        spent, seen = spent + (at - seen) * len(live), at
        order = live[np.argsort(-scores[live, :at].mean(axis=1), kind="stable")]
        if at == scores.shape[1]:
            return spent, int(order[0])
        live = order[: max(1, (len(live) + 1) // 2)]
        at = at * 2 if len(live) > 1 else scores.shape[1]


@cache
def _read(path: Path) -> Truth:
    return Truth.read(path)


def run(task: tuple[Path, str, int, int]) -> dict[str, Any]:
    """Every kind of search with one seed."""
    path, metric, seed, trials = task
    truth, grid_of = shuffled(_read(path), seed), GRIDS[metric]
    best = truth.mean(truth.best)
    found: dict[str, Any] = {}
    kinds: Mapping[str, dict[str, Any]] = {
        "default": {},
        "whole": {"pruner": {"name": "none"}},
        "race 20": {"pruner": {"name": "race"}},
        "race 10": {"pruner": {"name": "race", "startup": 10}, "block": 10},
        "race more": {"pruner": {"name": "race", "startup": 10}, "block": 10, "trials": trials * 7 // 5},
    }
    kept: dict[str, Searched] = {}
    for name, changes in kinds.items():
        one = kept[name] = swept(truth, grid_of, seed, **{"trials": trials, **changes})
        top = sorted(kept["whole"].finished, key=truth.mean, reverse=True)[:3] if "whole" in kept else []
        found[name] = {"spent": one.spent, "mean": truth.mean(one.winner), "best": best, "finished": len(one.finished)}
        found[name] |= {"reached": one.reached, "spent_then": one.reached or one.spent}
        found[name] |= {"winner": one.winner == kept["default"].winner, "against": truth.mean(kept["default"].winner)}
        found[name]["top"] = len(set(top) & set(one.finished)) / 3 if top else None
    scores = drawn(truth, seed, trials)
    means = scores.mean(axis=1)
    shards: dict[str, Callable[[], tuple[int, int]]] = {
        "one by one": lambda: one_by_one(scores, 10)[:2],
        "side by side": lambda: side_by_side(scores, 10),
        "halving, 1/16": lambda: halving(scores, max(5, truth.cases // 16)),
        "halving, 1/8": lambda: halving(scores, truth.cases // 8),
    }
    for name, way in shards.items():
        spent, place = way()
        found[name] = {
            "spent": spent,
            "mean": float(means[place]),
            "against": float(means.max()),
            "winner": bool(means[place] == means.max()),
        }
    return found | {"points": len(truth.tune), "cases": truth.cases}


def measure(path: Path, metric: str, seeds: Sequence[int], trials: int) -> dict[str, Any]:
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        runs = list(pool.map(run, [(path, metric, seed, trials) for seed in seeds]))
    points, cases = runs[0]["points"], runs[0]["cases"]
    whole, rows = min(trials, points) * cases, []
    for name in (name for name in runs[0] if name not in ("points", "cases")):
        some = [one[name] for one in runs]
        lacks = np.array([one["against"] - one["mean"] for one in some])
        row: dict[str, Any] = {"way": name, "share": float(np.mean([one["spent"] for one in some])) / whole}
        row |= {
            "winner": float(np.mean([one["winner"] for one in some])),
            "near": float(np.mean(lacks <= NEAR)),
            "lacks": float(lacks.mean()),
        }
        if "best" in some[0]:
            today = float(np.mean([one["default"]["spent"] for one in runs]))
            row |= {"of_default": float(np.mean([one["spent"] for one in some])) / today}
            row |= {"reached": float(np.mean([one["reached"] is not None for one in some]))}
            row |= {"spent_then": float(np.mean([one["spent_then"] for one in some])) / whole}
            row |= {"regret": float(np.mean([one["best"] - one["mean"] for one in some]))}
            row |= {"finished": float(np.mean([one["finished"] for one in some]))}
            row |= {"top": float(np.mean([one["top"] for one in some])) if some[0]["top"] is not None else None}
        rows.append(row)
    return {"table": path.stem, "metric": metric, "points": points, "cases": cases, "trials": min(trials, points), "rows": rows}


# ---- on simulated scores


def equal_ends(world: World, count: int, repetitions: int) -> dict[str, Any]:
    """One that ends exactly as high as the best of ten, which all others forecast: how often it is dropped, looks after every 5 cases."""
    rng, gone = np.random.default_rng([SEED, count, len(world.name)]), 0
    for scores in world.draw(rng, repetitions, np.full((repetitions, 11), world.mean), count):
        one, others = scores[0], scores[1:]
        known = others[np.argsort(-others.mean(axis=1))]
        goal = float(one.mean())  # whatever must be reached: it ends there to the last bit
        gone += any(cannot_catch_up(one[:at], goal, known, ALPHA) for at in range(5, count, 5))
    return {"world": world.name, "n": count, "dropped": gone / repetitions, "error": float(np.sqrt(max(gone, 1)) / repetitions)}


def spread(world: World, count: int, repetitions: int) -> dict[str, Any]:
    """A search among unequal ones: what is saved, and how often the best on these cases, and the truly best one, is dropped."""
    rng = np.random.default_rng([SEED, count, 2])
    means = np.clip(world.mean + rng.normal(0, SPREAD, (repetitions, TRIALS)), 0.02, 0.98)
    scores = world.draw(rng, repetitions, means, count)
    before = search(scores, sequential(ALPHA), "best")
    spent, best, truly, regret = 0, 0, 0, []
    for some, true in zip(scores, means, strict=True):
        used, place, dropped = one_by_one(some, 10)
        spent += used
        best += bool(dropped[int(np.argmax(some.mean(axis=1)))])
        truly += bool(dropped[int(np.argmax(true))])
        regret.append(float(true[int(some.mean(axis=1).argmax())] - true[place]))
    all_ = repetitions * TRIALS * count
    row = {"world": world.name, "n": count, "default": float(before.cases.sum() / all_), "race": spent / all_}
    return row | {"best": best / repetitions, "truly": truly / repetitions, "regret": float(np.mean(regret))}


# ---- report


def percent(share: float | None, digits: int = 0) -> str:
    return "–" if share is None else f"{100 * share:.{digits}f} %"


SPOKEN = {
    "default": "the default: sequential test, alpha / m",
    "whole": "nothing given up",
    "race 20": "race, a look after 20 cases",
    "race 10": "race, a look after 10 cases",
    "race more": "the same with two fifths more trials",
    "one by one": "race, as shipped",
    "side by side": "all side by side, leader of the shards before",
    "halving, 1/16": "halving, from 1/16 of the cases",
    "halving, 1/8": "halving, from 1/8 of the cases",
}


def part(data: dict[str, Any]) -> Iterator[str]:
    yield f"## `{data['metric']}` on {data['table']}: {data['points']} configurations, {data['cases']} cases, {data['trials']} trials"
    searches = [row for row in data["rows"] if "of_default" in row]
    yield "Of a search with the sweep's own sampler. Held against the default search of the same seed and order:"
    head = ["search", "evaluations, of all", "of the default's", "same winner", f"or within {NEAR:g}", "below the grid's best"]
    yield table(
        [*head, f"within {NEAR:g} of it", "evaluations until then", "seen whole", "of the top 3"],
        [
            [
                *(SPOKEN[row["way"]], percent(row["share"]), percent(row["of_default"]), percent(row["winner"]), percent(row["near"])),
                *(
                    f"{row['regret']:.4f}",
                    percent(row["reached"]),
                    percent(row["spent_then"]),
                    f"{row['finished']:.1f}",
                    percent(row["top"]),
                ),
            ]
            for row in searches
        ],
    )
    yield (
        "“All” is every case of as many trials. “Until then” counts a search that never came there with all that it spent. "
        "The top 3 are those of the search that gives nothing up."
    )
    yield f"Of {data['trials']} configurations drawn at random, known from the beginning. Held against the best of them on all cases:"
    yield table(
        ["search", "evaluations, of all", "same winner", f"or within {NEAR:g}", "below the best of them"],
        [
            [SPOKEN[row["way"]], percent(row["share"]), percent(row["winner"]), percent(row["near"]), f"{row['lacks']:.4f}"]
            for row in data["rows"]
            if "of_default" not in row
        ],
    )


def markdown(data: dict[str, Any]) -> str:
    return "\n\n".join(
        [
            "# Racing: fewer case evaluations, and what they lose",
            f"`python bench/racing.py --runs {data['runs']} --trials {data['trials']} --repetitions {data['repetitions']}`; "
            f"{machine_line(data['machine'])}, shared; {data['seconds']:.0f} s.",
            "## Dropped, and should not have been",
            f"One that ends exactly as high as what must be reached, ten others forecasting it, asked after every 5 cases; at most "
            f"{ALPHA:.0%} is stated, in brackets the standard error.",
            table(
                ["scores", "cases", "dropped"],
                [[row["world"], row["n"], f"{percent(row['dropped'], 1)} ({100 * row['error']:.1f})"] for row in data["equal"]],
            ),
            f"Searches among {TRIALS} configurations whose true means differ with a standard deviation of {SPREAD:g}, a look after 10 "
            "cases. Regret is what the true mean of the winner lacks to that of the one that wins when nothing is given up, in points.",
            table(
                ["scores", "cases", "evaluations: default", "race", "best on the cases dropped", "truly best dropped", "regret"],
                [
                    [
                        row["world"],
                        row["n"],
                        percent(row["default"]),
                        percent(row["race"]),
                        percent(row["best"], 1),
                        percent(row["truly"], 1),
                        f"{100 * row['regret']:.2f}",
                    ]
                    for row in data["spread"]
                ],
            ),
            *(text for one in data["grids"] for text in part(one)),
        ]
    )


def metric_of(path: Path) -> str:
    """Which of the two grids a table is of, by its knobs."""
    known = next(lines(path))["values"]
    return next(metric for metric, grid_of in GRIDS.items() if known.keys() <= grid_of.space.keys())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", type=Path, nargs="*")
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--repetitions", type=int, default=2000)
    parser.add_argument("--out", type=Path, default=Path("reports/bench"))
    options = parser.parse_args()
    begin, often = time.perf_counter(), options.repetitions
    tables = options.tables or sorted(Path(".touchstone/bench").glob("*.jsonl"))
    data: dict[str, Any] = {"machine": machine("optuna", "numpy"), "runs": options.runs, "trials": options.trials, "repetitions": often}
    data["equal"] = [equal_ends(world, count, often) for world in WORLDS for count in COUNTS]
    data["spread"] = [spread(world, count, max(100, often // 10)) for world in WORLDS for count in COUNTS]
    data["grids"] = [measure(path, metric_of(path), range(options.runs), options.trials) for path in tables]
    data["seconds"] = time.perf_counter() - begin
    write_report("racing", data, markdown(data), options.out)
    print(markdown(data))


if __name__ == "__main__":
    main()
