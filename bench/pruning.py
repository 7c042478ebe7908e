"""How often a pruner drops a configuration that is as good as what it is compared with, and what it saves on worse ones.

    python bench/pruning.py [--repetitions 2000] [--out reports/bench]

A simulation: configurations are scored case by case in one order, with a look after every 20 cases but the last, as in a sweep.
The sequential test is that of `harness.stats.sequential`; Optuna's WilcoxonPruner is its rule on the same scores.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from _bench import machine, machine_line, table, write_report
from numpy.typing import NDArray
from scipy import stats

from harness.stats.sequential import STAKES, surely_worse
from harness.sweep.experiment import Pruning

SEED = 20260930
BLOCK = 20  # cases between two looks
COUNTS = (80, 250)  # the quickstart's cases, and TechCorp's whole tune split
EQUAL = (10, 30, 50)  # trials of a search
GAPS = (0.05, 0.1, 0.2)
SPREAD = 0.06  # standard deviation of the true means in a simulated search

Scores = NDArray[np.float64]
Rule = Callable[[Scores, Scores, int], NDArray[np.bool_]]  # differences so far, the reference's mean, chosen from how many → dropped


@dataclass(frozen=True, slots=True)
class World:
    """How scores come about: the mean of a configuration with no handicap, and a draw of (searches, configurations, cases)."""

    name: str
    mean: float
    draw: Callable[[np.random.Generator, int, Scores, int], Scores]  # searches, true means (searches × configurations), cases


def rights(alike: float) -> World:
    """Right or wrong, by each question's own chance."""

    def draw(rng: np.random.Generator, searches: int, means: Scores, count: int) -> Scores:
        chance = rng.beta(alike, alike, (searches, 1, count))
        return (rng.random((searches, means.shape[1], count)) < _moved(chance, means / 0.5)).astype(float)

    return World("right or wrong, easy and hard questions" if alike < 1 else "right or wrong, coin tosses", 0.5, draw)


def partial(rng: np.random.Generator, searches: int, means: Scores, count: int) -> Scores:
    chance = rng.beta(0.33, 0.33, (searches, 1, count))
    shape = (searches, means.shape[1], count)
    whole = np.where(rng.random(shape) < 0.6, 1.0, rng.random(shape))
    return (rng.random(shape) < _moved(chance, means / 0.4)) * whole


def _moved(chance: Scores, share: Scores) -> Scores:
    """Chances whose mean is so many times theirs: lowered in proportion, or raised towards 1."""
    share = share[:, :, None]
    return np.where(share <= 1, chance * share, chance + (1 - chance) * (share - 1))


WORLDS = (rights(0.33), rights(1e6), World("zeros, ones and parts, easy and hard", 0.4, partial))


def lopsided(rng: np.random.Generator, searches: int, count: int) -> Scores:
    """Differences from a base of the same mean: a little lost on nine questions of ten, much gained on the tenth."""
    return np.where(rng.random((searches, count)) < 0.1, 0.9, -0.1)


# ---- rules


def sequential(alpha: float, *, corrected: bool = True) -> Rule:
    """The sweep's test; compared with the best of m, each of the m has a share of alpha."""

    def rule(differences: Scores, _: Scores, chosen_from: int) -> NDArray[np.bool_]:
        grown = np.zeros((len(differences), len(STAKES)))
        for number, stake in enumerate(STAKES):
            grown[:, number] = np.log1p(-stake * differences).sum(axis=1)
        level = alpha / (chosen_from if corrected else 1)
        return np.asarray(np.exp(np.minimum(grown, 50)).mean(axis=1) >= 1 / level)

    return rule


def wilcoxon(threshold: float) -> Rule:
    """Optuna's: one-sided, zeros split, and never while the trial's mean so far is above the best trial's mean."""

    def rule(differences: Scores, ahead: Scores, _: int) -> NDArray[np.bool_]:
        p = stats.wilcoxon(differences, axis=1, alternative="less", zero_method="zsplit", method="asymptotic").pvalue
        return np.asarray((p < threshold) & ~ahead)

    return rule


# ---- simulations


@dataclass(frozen=True, slots=True)
class Dropping:
    """When each configuration of each search was dropped; the number of cases where it was not."""

    cases: NDArray[np.int64]  # searches × configurations: cases scored
    dropped: NDArray[np.bool_]


def search(scores: Scores, rule: Rule, against: str) -> Dropping:
    """Trials one after the other; number 0 is the base, and is never dropped."""
    searches, trials, count = scores.shape
    means = scores.mean(axis=2)
    used, dropped = np.full((searches, trials), count), np.zeros((searches, trials), dtype=bool)
    best, finished = np.zeros(searches, dtype=int), np.ones(searches, dtype=int)
    every = np.arange(searches)
    for trial in range(1, trials):
        reference = best if against == "best" else np.zeros(searches, dtype=int)
        other = scores[every, reference]
        open_ = np.ones(searches, dtype=bool)
        for look in range(BLOCK, count, BLOCK):
            for size in np.unique(finished[open_]) if against == "best" else (1,):
                some = np.flatnonzero(open_ & (finished == size)) if against == "best" else np.flatnonzero(open_)
                mine = scores[some, trial, :look]
                ahead = mine.mean(axis=1) >= means[some, reference[some]]
                gone = some[rule(mine - other[some, :look], ahead, int(size))]
                open_[gone], dropped[gone, trial], used[gone, trial] = False, True, look
        best = np.where(open_ & (means[:, trial] > means[every, best]), trial, best)
        finished += open_
    return Dropping(used, dropped)


def check() -> None:
    """The test as it is written here for many at once is the sweep's own."""
    rng = np.random.default_rng(SEED)
    some = rng.choice([-1.0, -0.3, 0.0, 0.3, 1.0], p=[0.2, 0.2, 0.3, 0.2, 0.1], size=(200, 60))
    assert sequential(0.05)(some, some[:, 0] > 2, 3).tolist() == [surely_worse(row.tolist(), 0.05 / 3) for row in some]


def rules(alpha: float) -> dict[str, tuple[Rule, str]]:
    """What is compared, by name."""
    return {
        f"sequential {alpha:g}, base": (sequential(alpha), "base"),
        f"sequential {alpha:g}, best, uncorrected": (sequential(alpha, corrected=False), "best"),
        f"sequential {alpha:g}, best, corrected": (sequential(alpha), "best"),
        "Wilcoxon 0.1 (Optuna's default), best": (wilcoxon(0.1), "best"),
        "Wilcoxon 0.05, best": (wilcoxon(0.05), "best"),
        "Wilcoxon 0.05, base": (wilcoxon(0.05), "base"),
    }


def equal(world: World, trials: int, count: int, repetitions: int, alpha: float) -> list[dict[str, Any]]:
    """All configurations are equal: how many are dropped all the same."""
    rng = np.random.default_rng(SEED + trials + count)
    searches = max(40, repetitions // trials)
    scores = world.draw(rng, searches, np.full((searches, trials), world.mean), count)
    rows = []
    for name, (rule, against) in rules(alpha).items():
        found = search(scores, rule, against).dropped[:, 1:].mean(axis=1)
        error = float(found.std(ddof=1) / np.sqrt(searches))
        rows.append({"world": world.name, "trials": trials, "n": count, "rule": name, "dropped": float(found.mean()), "error": error})
    return rows


def skew(count: int, repetitions: int, alpha: float) -> dict[str, Any]:
    """The same mean, won and lost in unequal portions, against a fixed base."""
    differences = lopsided(np.random.default_rng(SEED + count), repetitions, count)
    row: dict[str, Any] = {"n": count}
    for name, rule in (("sequential", sequential(alpha)), ("wilcoxon", wilcoxon(0.05))):
        gone = np.zeros(repetitions, dtype=bool)
        for look in range(BLOCK, count, BLOCK):
            gone |= rule(differences[:, :look], np.zeros(repetitions, dtype=bool), 1)
        row[name] = float(gone.mean())
    return row


def worse(world: World, gap: float, count: int, repetitions: int, alpha: float) -> list[dict[str, Any]]:
    """One that is worse than the base by a gap: how often it is dropped, and the share of its cases that is saved."""
    rng = np.random.default_rng(SEED + count + int(1000 * gap))
    scores = world.draw(rng, repetitions, np.full((repetitions, 2), world.mean) - [0.0, gap], count)
    rows = []
    for name, rule in (
        (f"sequential {alpha:g}", sequential(alpha)),
        (f"sequential {alpha:g}, best of 20", sequential(alpha / 20)),
        ("Wilcoxon 0.05", wilcoxon(0.05)),
    ):
        found = search(scores, rule, "base")
        saved = 1 - found.cases[:, 1].mean() / count
        row = {"world": world.name, "gap": gap, "n": count, "rule": name, "saved": float(saved)}
        rows.append(row | {"dropped": float(found.dropped[:, 1].mean())})
    return rows


def spread(world: World, trials: int, count: int, repetitions: int, alpha: float) -> list[dict[str, Any]]:
    """A search among unequal ones: what is saved in all, and how often the truly best one is dropped."""
    rng = np.random.default_rng(SEED + 3 * trials + count)
    searches = max(100, repetitions // 5)
    means = np.clip(world.mean + rng.normal(0, SPREAD, (searches, trials)), 0.02, 0.98)
    scores = world.draw(rng, searches, means, count)
    best = means[:, 1:].argmax(axis=1) + 1
    rows = []
    for name, (rule, against) in {"none": (sequential(1e-12), "base"), **rules(alpha)}.items():
        found = search(scores, rule, against)
        kept = np.where(found.dropped, -1.0, scores.mean(axis=2))
        chosen = means[np.arange(searches), kept.argmax(axis=1)]
        regret = means.max(axis=1) - chosen
        row = {"world": world.name, "trials": trials, "n": count, "rule": name, "saved": float(1 - found.cases[:, 1:].mean() / count)}
        row |= {"lost": float(found.dropped[np.arange(searches), best].mean()), "regret": float(regret.mean())}
        rows.append(row | {"error": float(regret.std(ddof=1) / np.sqrt(searches))})
    return rows


# ---- report


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def pivot(rows: Sequence[dict[str, Any]], left: Sequence[str], value: Callable[[dict[str, Any]], str]) -> tuple[list[str], list[list[str]]]:
    """A line for each combination of the left columns, a column for each rule."""
    names = list(dict.fromkeys(row["rule"] for row in rows))
    lines: dict[tuple[Any, ...], list[str]] = {}
    for row in rows:
        lines.setdefault(tuple(row[name] for name in left), []).append(value(row))
    return names, [[*map(str, key), *values] for key, values in lines.items()]


def markdown(data: dict[str, Any]) -> str:
    same, same_rows = pivot(data["equal"], ("world", "trials", "n"), lambda row: f"{percent(row['dropped'])} ± {200 * row['error']:.1f}")
    less, less_rows = pivot(data["worse"], ("world", "gap", "n"), lambda row: f"{row['dropped']:.0%} / {row['saved']:.0%}")
    wide, wide_rows = pivot(
        data["spread"], ("world", "trials", "n"), lambda row: f"{row['saved']:.0%} / {row['lost']:.1%} / {100 * row['regret']:.1f}"
    )
    return "\n\n".join(
        [
            "# What a pruner drops",
            f"`python bench/pruning.py --repetitions {data['repetitions']}`; {machine_line(data['machine'])}; {data['seconds']:.0f} s. "
            f"Looks after every {BLOCK} cases but the last.",
            "## Equal configurations that are dropped",
            f"Every configuration has the same true mean; trial 0 is the base. Stated: {data['alpha']:g} for the sequential test. After ± "
            "two standard errors. “Best” is the finished trial with the highest mean, on the very cases that others are then held "
            "against it on: it owes part of that mean to luck, so an equal one looks worse (winner's curse). “Corrected” gives each of the "
            "m finished trials that it was chosen from a share of alpha: who is surely worse than the best at alpha / m is surely worse "
            "than one of the m at alpha / m, and that happens to an equal one with a chance of at most alpha in all.",
            table(["scores", "trials", "cases", *same], same_rows),
            "The same mean in unequal portions (0.1 lost on nine questions of ten, 0.9 gained on the tenth), against a fixed base:",
            table(
                ["cases", "sequential", "Wilcoxon 0.05"],
                [[row["n"], percent(row["sequential"]), percent(row["wilcoxon"])] for row in data["skew"]],
            ),
            "Wilcoxon's test asks whether differences are symmetric around 0, not whether their mean is 0, and a sweep ranks by means.",
            "## Worse configurations: dropped / cases saved",
            "Held against a fixed base; “best of 20” is the same test at a twentieth of alpha, the price of the correction.",
            table(["scores", "worse by", "cases", *less], less_rows),
            "## A search among unequal ones: cases saved / the truly best one dropped / regret",
            f"True means are normal around the base with a standard deviation of {SPREAD:g}. Regret is what the true mean of the trial "
            "that is best on the cases lacks to the truly best one, in points (hundredths).",
            table(["scores", "trials", "cases", *wide], wide_rows),
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=2000)
    parser.add_argument("--out", type=Path, default=Path("reports/bench"))
    options = parser.parse_args()
    check()
    begin, alpha, often = time.perf_counter(), Pruning().alpha, options.repetitions
    data: dict[str, Any] = {"repetitions": often, "machine": machine("scipy", "numpy", "optuna"), "alpha": alpha}
    data["equal"] = [row for world in WORLDS for trials in EQUAL for count in COUNTS for row in equal(world, trials, count, often, alpha)]
    data["skew"] = [skew(count, often, alpha) for count in COUNTS]
    data["worse"] = [row for world in WORLDS for gap in GAPS for count in COUNTS for row in worse(world, gap, count, often, alpha)]
    data["spread"] = [row for world in WORLDS[::2] for count in COUNTS for row in spread(world, 30, count, often, alpha)]
    data["seconds"] = time.perf_counter() - begin
    write_report("pruning", data, markdown(data), options.out)
    print(markdown(data))


if __name__ == "__main__":
    main()
