"""Whether a calibrated threshold keeps its promise, how often there is none, and how much of the possible benefit it reaches.

    python bench/calibrate.py [--runs 2000] [--out reports/bench]

Scores and losses are drawn from shapes whose true risk at every threshold is known. A run is a violation where a threshold is chosen
whose true risk is above the level. Beside the engine stand two choices that are common: the most beneficial threshold whose risk as
seen is below the level, and the one whose own 95 % bound is. A last table holds three bounds for graded losses against each other.
"""

import argparse
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from _bench import machine, machine_line, table, write_report

from harness.calibrate.bounds import Sample, counted_p_values, least_labels, p_value
from harness.calibrate.calibrate import default_starts, passing
from harness.calibrate.exposure import DecisionColumns, Exposure
from harness.calibrate.labelled import RiskLimit
from harness.calibrate.walk import WalkStart
from harness.stats import rate_interval

SEED = 20260930
SIZES = (50, 200, 1000, 5000)
GRID = np.linspace(0.0, 1.0, 101)[:-1].tolist()  # where a p-value is no binomial's
POPULATION = 400_000  # groups from which the true risk is had
Numbers = npt.NDArray[np.float64]
Draw = Callable[[np.random.Generator, int], tuple[DecisionColumns, Numbers]]


@dataclass(frozen=True, slots=True)
class Shape:
    """How scores and losses are drawn: for so many groups the columns, and each example's expected loss."""

    name: str
    draw: Draw
    limit: RiskLimit
    sizes: tuple[int, ...] = SIZES
    grid: bool = False


def singles(scores: Numbers, expected: Numbers, losses: Numbers, benefits: Numbers | None = None) -> tuple[DecisionColumns, Numbers]:
    """Examples of which each is a group of its own; what is not lost is gained unless said otherwise."""
    gained = 1.0 - losses if benefits is None else benefits
    return DecisionColumns(scores, losses, gained, np.arange(len(scores)), np.ones(len(scores), dtype=bool)), expected


def binary(risk: Callable[[Numbers], Numbers]) -> Draw:
    """Losses of 0 and 1 by a risk that depends on the score alone."""

    def draw(rng: np.random.Generator, count: int) -> tuple[DecisionColumns, Numbers]:
        scores = rng.beta(4, 1, count)
        expected = np.clip(risk(scores), 0.0, 1.0)
        return singles(scores, expected, (rng.random(count) < expected).astype(np.float64))

    return draw


def graded(rng: np.random.Generator, count: int) -> tuple[DecisionColumns, Numbers]:
    """Losses in twentieths: a beta's, with the mean that the score says."""
    scores = rng.beta(4, 1, count)
    tenths = rng.binomial(20, rng.beta(np.maximum(2 * (1 - scores), 1e-6), np.maximum(2 * scores, 1e-6)))
    return singles(scores, 1 - scores, tenths / 20, 1.0 - tenths / 20)


def differences(rng: np.random.Generator, count: int) -> tuple[DecisionColumns, Numbers]:
    """Losses of −1, 0 and 1: a cheap and a dear model that are right or wrong; what is gained is the price, whoever is right."""
    scores = rng.random(count)
    lost, won = 0.05 + 0.5 * (1 - scores) ** 2, np.full(count, 0.08)
    chance = rng.random(count)
    return singles(scores, lost - won, np.where(chance < lost, 1.0, np.where(chance < lost + won, -1.0, 0.0)), np.ones(count))


def clusters(rng: np.random.Generator, count: int) -> tuple[DecisionColumns, Numbers]:
    """Groups of 1 to 12, all of a group lost or none, and larger groups lost more often."""
    sizes = np.minimum(rng.geometric(0.35, count), 12)
    middle = rng.beta(4, 1, count)
    expected = np.clip((1 - middle) * (0.6 + 0.2 * sizes), 0.0, 1.0)
    lost = (rng.random(count) < expected).astype(np.float64)
    groups = np.repeat(np.arange(count), sizes)
    scores = np.clip(middle[groups] + rng.normal(0.0, 0.01, len(groups)), 0.0, 1.0)
    columns = DecisionColumns(scores, lost[groups], 1.0 - lost[groups], groups, np.ones(len(groups), dtype=bool))
    return columns, expected[groups]


def above(level: float) -> Callable[[Numbers], Numbers]:
    """A risk that is the same everywhere, just above the level: every choice is a violation."""
    return lambda scores: np.full(len(scores), level * 1.0001)


def bad_top(level: float) -> Callable[[Numbers], Numbers]:
    """Scores near 1 mislead (opposites that look alike); below them all is well, then a hump lifts the risk above the level, and so on."""
    return lambda scores: level * np.select([scores > 0.99, scores > 0.93, scores > 0.88, scores > 0.7], [3.0, 0.2, 2.0, 0.3], 5.0)


def shapes() -> list[Shape]:
    """What is tried."""
    action, decision = RiskLimit("per_action", 0.1), RiskLimit("per_decision", 0.05)
    strict = RiskLimit("per_action", 0.01)
    return [
        Shape("calibrated", binary(lambda scores: 1 - scores), action),
        Shape("uninformative, risk just above the level", binary(above(0.1)), action),
        Shape("uninformative, risk half the level", binary(lambda scores: np.full(len(scores), 0.05)), action),
        Shape("not monotone: a bad top, a hump", binary(bad_top(0.1)), action),
        Shape("clustered, large groups worse", clusters, action, grid=True),
        Shape("graded losses", graded, action, grid=True),
        Shape("per decision: calibrated", binary(lambda scores: 1 - scores), decision),
        Shape("per decision: differences from −1 to 1", differences, RiskLimit("per_decision", 0.03, low=-1.0), grid=True),
        Shape("strict: calibrated", binary(lambda scores: 0.3 * (1 - scores)), strict, (1000, 5000)),
        Shape("strict: risk just above the level", binary(above(0.01)), strict, (1000, 5000)),
        Shape("strict: not monotone", binary(bad_top(0.01)), strict, (1000, 5000)),
    ]


@dataclass(frozen=True, slots=True)
class Truth:
    """The true risk and benefit at every threshold."""

    scores: Numbers  # from high to low
    risks: Numbers
    benefits: Numbers

    def risk(self, threshold: float) -> float:
        return float(self.risks[self._place(threshold)])

    def benefit(self, threshold: float | None) -> float:
        return 0.0 if threshold is None else float(self.benefits[self._place(threshold)])

    def best(self, level: float) -> float:
        """What one gains who knows the true risks."""
        return float(self.benefits[self.risks <= level].max(initial=0.0))

    def _place(self, threshold: float) -> int:
        return max(0, int(np.searchsorted(-self.scores, -threshold, side="right")) - 1)


def truth(shape: Shape) -> Truth:
    """From many groups, by each example's expected loss."""
    columns, expected = shape.draw(np.random.default_rng(SEED + 1), POPULATION)
    order = np.argsort(-columns.scores)
    parts = (1.0 / np.bincount(columns.groups)[columns.groups])[order]
    gained = columns.benefits if shape.limit.low < 0 else 1.0 - expected
    lost, whole = np.cumsum(parts * expected[order]), np.full(len(order), float(POPULATION))
    if shape.limit.kind == "per_action":  # a group acts from its highest score on, and its members' expected losses are alike
        _, first = np.unique(columns.groups[order], return_index=True)
        begun = np.zeros(len(order))
        begun[first] = 1.0
        lost, whole = np.cumsum(begun * expected[order]), np.cumsum(begun)
    return Truth(columns.scores[order], lost / whole, np.cumsum(parts * gained[order]) / POPULATION)


def choices(shape: Shape, columns: DecisionColumns) -> dict[str, float | None]:
    """What each way chooses from the same labels."""
    exposure = Exposure(columns, shape.limit, grid=GRID if shape.grid else ())
    passed = passing(exposure, default_starts(exposure))
    places = range(len(exposure.thresholds))
    if shape.grid:
        samples, level = [exposure.sample(place) for place in places], shape.limit.level
        risks = np.array([sample.risk for sample in samples])
        chances = np.array([p_value(sample, level) if sample.risk <= level else 1.0 for sample in samples])
    else:
        counts = exposure.actions if shape.limit.kind == "per_action" else np.full_like(exposure.actions, exposure.deciding)
        risks = exposure.lost() / counts
        chances = counted_p_values(exposure.lost(), counts, shape.limit.level)
    gains = np.array([exposure.benefit(place) for place in places])

    def best(allowed: npt.NDArray[np.bool_]) -> float | None:
        if not allowed.any():
            return None
        return float(exposure.thresholds[int(np.argmax(np.where(allowed, gains, -np.inf)))])

    allowed = np.zeros(len(gains), dtype=bool)
    allowed[[one.place for one in passed]] = True
    return {"engine": best(allowed), "as seen": best(risks <= shape.limit.level), "own bound": best(chances <= shape.limit.error)}


def measure(shape: Shape, size: int, runs: int, known: Truth) -> dict[str, Any]:
    """Many calibrations of one shape at one size."""
    rng = np.random.default_rng([SEED, size])
    chosen: dict[str, list[float | None]] = {}
    for _ in range(runs):
        columns, _ = shape.draw(rng, size)
        for name, threshold in choices(shape, columns).items():
            chosen.setdefault(name, []).append(threshold)
    level, best = shape.limit.level, known.best(shape.limit.level)
    row: dict[str, Any] = {
        "shape": shape.name,
        "kind": shape.limit.kind,
        "level": level,
        "groups": size,
        "oracle_benefit": best,
    }
    for name, thresholds in chosen.items():
        violations = sum(known.risk(one) > level for one in thresholds if one is not None)
        interval = rate_interval(violations, runs)
        kept = [known.benefit(one) if one is None or known.risk(one) <= level else 0.0 for one in thresholds]
        row[name] = {
            "violations": violations / runs,
            "interval": [interval.low, interval.high],
            "none": sum(one is None for one in thresholds) / runs,
            "reached": float(np.mean(kept)) / best if best > 0.0 else None,
        }
    return row


def starts(runs: int) -> list[dict[str, Any]]:
    """What the walk reaches with the error split over its starts, and with all of it on one."""
    rows = []
    tried = [shape for shape in shapes() if shape.name in ("calibrated", "uninformative, risk half the level")]
    for shape, size in ((shape, size) for shape in tried for size in (1000, 5000)):
        limit, known, rng = shape.limit, truth(shape), np.random.default_rng([SEED, size])
        alone = (WalkStart(least_labels(limit.level, limit.error), limit.error),)
        gained: dict[str, list[float]] = {"several": [], "one": []}
        for _ in range(runs):
            exposure = Exposure(shape.draw(rng, size)[0], limit)
            for way, begun in (("several", default_starts(exposure)), ("one", alone)):
                passed = passing(exposure, begun)
                best = max(passed, key=lambda one: exposure.benefit(one.place), default=None)
                threshold = None if best is None else float(exposure.thresholds[best.place])
                gained[way].append(known.benefit(threshold) if threshold is None or known.risk(threshold) <= limit.level else 0.0)
        whole = known.best(limit.level)
        rows.append({"shape": shape.name, "groups": size} | {way: float(np.mean(values)) / whole for way, values in gained.items()})
    return rows


def betting(losses: Numbers, level: float) -> Numbers:
    """A p-value of "the mean is at least the level" for each row, by hedged capital that bets on less (Waudby-Smith and Ramdas)."""
    runs, count = losses.shape
    steps = np.arange(1, count + 1)
    means = (0.5 + np.cumsum(losses, axis=1)) / (steps + 1)
    variances = (0.25 + np.cumsum((losses - means) ** 2, axis=1)) / (steps + 1)
    before = np.concatenate([np.full((runs, 1), 0.25), variances[:, :-1]], axis=1)
    stakes = np.minimum(np.sqrt(2 * math.log(1 / 0.05) / (count * before)), 0.75 / (1 - level))
    wealth = np.cumsum(np.log1p(stakes * (level - losses)), axis=1)
    return np.asarray(np.minimum(1.0, np.exp(-wealth.max(axis=1))))


def hoeffding_bentkus(means: Numbers, count: int, level: float) -> Numbers:
    """The p-value of the paper that names the method (Angelopoulos et al., 2021)."""
    seen = np.clip(means, 1e-12, level)
    divergence = seen * np.log(seen / level) + (1 - seen) * np.log((1 - seen) / (1 - level))
    counted = math.e * counted_p_values(np.ceil(count * means), np.full(len(means), count), level)
    return np.minimum(1.0, np.minimum(np.exp(-count * divergence), counted))


def bounds(runs: int) -> list[dict[str, Any]]:
    """How often each bound shows that graded losses are below the level, where they are and where they are just not."""
    rows, level = [], 0.1
    for mean, spread in ((0.05, 2.0), (0.05, 20.0), (0.1, 2.0)):
        for count in (100, 300, 1000):
            rng = np.random.default_rng([SEED, count])
            losses = rng.binomial(20, rng.beta(spread * mean, spread * (1 - mean), (runs, count))) / 20
            begin = time.perf_counter()
            gaffke = np.array([p_value(Sample(row, 1.0), level) for row in losses])
            seconds = time.perf_counter() - begin
            rows.append(
                {
                    "mean": mean,
                    "spread": "all or nothing, nearly" if spread < 10 else "small losses",
                    "labels": count,
                    "gaffke": float(np.mean(gaffke <= 0.05)),
                    "betting": float(np.mean(betting(losses, level) <= 0.05)),
                    "hoeffding_bentkus": float(np.mean(hoeffding_bentkus(losses.mean(axis=1), count, level) <= 0.05)),
                    "gaffke_ms": 1000 * seconds / runs,
                }
            )
    return rows


def percent(share: float | None, digits: int = 1) -> str:
    return "–" if share is None else f"{100 * share:.{digits}f} %"


def markdown(data: dict[str, Any]) -> str:
    rows = [
        [
            row["shape"],
            f"{row['level']:g}",
            row["groups"],
            percent(row["engine"]["violations"]),
            percent(row["engine"]["none"]),
            percent(row["engine"]["reached"], 0),
            percent(row["as seen"]["violations"]),
            percent(row["own bound"]["violations"]),
        ]
        for row in data["cells"]
    ]
    worst = max(data["cells"], key=lambda row: row["engine"]["violations"])
    start_rows = [[row["shape"], row["groups"], percent(row["several"], 0), percent(row["one"], 0)] for row in data["starts"]]
    bound_rows = [
        [
            f"{row['mean']:g}, {row['spread']}",
            row["labels"],
            percent(row["gaffke"]),
            percent(row["betting"]),
            percent(row["hoeffding_bentkus"]),
            f"{row['gaffke_ms']:.2f}",
        ]
        for row in data["bounds"]
    ]
    return "\n\n".join(
        [
            "# Calibrated thresholds: is the promise kept?",
            f"`python bench/calibrate.py --runs {data['runs']}`; {machine_line(data['machine'])}; {data['seconds']:.0f} s.",
            f"Promised: a risk above the level in at most 5 % of calibrations. {data['runs']} calibrations in each row; the most "
            f"violations are {percent(worst['engine']['violations'])} ({worst['shape']}, {worst['groups']} groups); two standard errors "
            f"of 5 % are {percent(2 * math.sqrt(0.05 * 0.95 / data['runs']))} here.",
            table(
                [
                    "shape",
                    "level",
                    "groups",
                    "violations",
                    "no safe threshold",
                    "of the oracle's benefit",
                    "violations: risk as seen",
                    "violations: own bound of each",
                ],
                rows,
            ),
            "Benefit counts only where the level is kept; the oracle knows the true risk of every threshold. “Risk as seen” takes the most "
            "beneficial threshold whose risk on the labels is at most the level; “own bound” the one whose own 95 % bound is, without "
            "regard to how many were looked at. "
            "A dash: nothing safe can be gained, so that every choice is a violation.",
            "## One start or several",
            f"Of the oracle's benefit, at a level of 0.1, {data['start_runs']} calibrations a row. With one start the walk begins where "
            "the fewest labels that act could show the level, and ends at the first failure.",
            table(["shape", "groups", "several starts (used)", "one start"], start_rows),
            "## Which bound for losses that are graded",
            "How often each shows, with an error of 5 %, that a mean loss is below 0.1. In the last rows it is 0.1, so that 5 % is the "
            "most allowed.",
            table(["mean loss", "labels", "Gaffke (used)", "betting", "Hoeffding–Bentkus", "ms for one"], bound_rows),
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--out", type=Path, default=Path("reports/bench"))
    options = parser.parse_args()
    begin = time.perf_counter()
    data: dict[str, Any] = {"runs": options.runs, "machine": machine("scipy", "numpy"), "cells": []}
    for shape in shapes():
        known = truth(shape)
        for size in shape.sizes:
            start = time.perf_counter()
            data["cells"].append(measure(shape, size, options.runs, known))
            print(f"{shape.name}, {size}: {time.perf_counter() - start:.1f} s", flush=True)
    data["start_runs"] = options.runs // 4
    data["starts"] = starts(data["start_runs"])
    data["bounds"] = bounds(options.runs)
    data["seconds"] = time.perf_counter() - begin
    write_report("calibrate", data, markdown(data), options.out)
    print(markdown(data))


if __name__ == "__main__":
    main()
