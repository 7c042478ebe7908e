"""How often the verdict on a candidate errs when it is looked at after every caller, and how many callers it takes.

    python bench/verdict_online.py [--runs 1000] [--callers 10000] [--out reports/bench]

Callers with a planted truth, through the bounds that the verdict is made of. Each caller is one observation; beside it what a test of
two shares says that counts question by question and is looked at as often.
"""

import argparse
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from _bench import machine, machine_line, table, write_report
from numpy.typing import NDArray

from serving.verdict.bounds import STAKES, Numbers, Observations, drawn, paired
from serving.verdict.rules import MEASURED, RATE_MARGIN

SEED = 20261129
ALPHA = 0.05
MEASURES = len(MEASURED["canary"])
NORMAL_95, NORMAL_90 = 1.6449, 1.2816  # quantiles of the normal distribution
QUESTIONS = 20  # of a caller whose questions are alike
FIRST = 50  # callers before the test of two shares is looked at
SAID = ("any_loss", "shipped", "two_shares", "no_worse")
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class World:
    """How often something bad happens to a caller of the stable release, and the candidate's share."""

    name: str
    rate: Callable[[int], Numbers]
    weight: Callable[[int], Numbers]


def always(value: float) -> Callable[[int], Numbers]:
    return lambda count: np.full(count, value)


def days(count: int) -> Numbers:
    return np.where(np.arange(count) % 200 < 100, 0.05, 0.5)


def growing(count: int) -> Numbers:
    return np.where(np.arange(count) < count // 6, 0.1, 0.5)


WORLDS = (
    World("2 %, half of the callers", always(0.02), always(0.5)),
    World("2 %, a tenth", always(0.02), always(0.1)),
    World("30 %, half", always(0.3), always(0.5)),
    World("30 %, a tenth", always(0.3), always(0.1)),
    World("good and bad days, the share grows", days, growing),
)


@dataclass(frozen=True, slots=True)
class Sample:
    """What callers met."""

    values: Numbers
    chosen: Flags
    weights: Numbers


def sample(world: World, rng: np.random.Generator, count: int, loss: float) -> Sample:
    rates, weights = world.rate(count), world.weight(count)
    chosen = rng.random(count) < weights
    return Sample((rng.random(count) < np.clip(rates + loss * chosen, 0.0, 1.0)).astype(float), chosen, weights)


def path(seen: Observations, mean: float) -> Numbers:
    """The logarithm of the wealth after every caller, of a bet on a mean above this one."""
    grown = np.cumsum(np.log1p(np.outer(STAKES, (seen.values - mean) / (mean - seen.least))), axis=1)
    most = grown.max(axis=0)
    found: Numbers = most + np.log(np.mean(np.exp(grown - most), axis=0))
    return found


def worse(seen: Observations, margin: float, alpha: float) -> Flags:
    found: Flags = path(seen, margin) >= math.log(1.0 / alpha)
    return found


def no_worse(seen: Observations, margin: float) -> Flags:
    found: Flags = path(seen.negated, -margin) >= math.log(1.0 / ALPHA)
    return found


def two_shares(one: Sample) -> bool:
    """Whether a one-sided test of two shares at 5 %, question by question, ever says worse."""
    bad, of = one.values * QUESTIONS, np.full(len(one.values), float(QUESTIONS))
    counts = [np.cumsum(np.where(one.chosen == side, of, 0.0)) for side in (True, False)]
    sums = [np.cumsum(np.where(one.chosen == side, bad, 0.0)) for side in (True, False)]
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = [total / count for total, count in zip(sums, counts, strict=True)]
        together = (sums[0] + sums[1]) / (counts[0] + counts[1])
        score = (shares[0] - shares[1]) / np.sqrt(together * (1 - together) * (1 / counts[0] + 1 / counts[1]))
    return bool(np.nanmax(score[FIRST:]) > NORMAL_95)


def errs(world: World, runs: int, count: int) -> dict[str, Any]:
    """How often equal releases are called worse, and one that is worse by the margin no worse, ever."""
    rng = np.random.default_rng([SEED, WORLDS.index(world)])
    found = np.zeros(4)
    for _ in range(runs):
        equal, lost = sample(world, rng, count, 0.0), sample(world, rng, count, RATE_MARGIN)
        seen, other = drawn(equal.values, equal.chosen, equal.weights), drawn(lost.values, lost.chosen, lost.weights)
        shipped = worse(seen, RATE_MARGIN, ALPHA / MEASURES).any()
        found += np.array([worse(seen, 0.0, ALPHA).any(), shipped, no_worse(other, RATE_MARGIN).any(), two_shares(equal)], dtype=float)
    names = ("any_loss", "shipped", "no_worse", "two_shares")
    return {"world": world.name, **dict(zip(names, (found / runs).tolist(), strict=True))}


def until(flags: Flags) -> float:
    return float(np.argmax(flags)) + 1 if flags.any() else math.inf


def needed(world: World, loss: float, runs: int, count: int) -> dict[str, Any]:
    """How many callers a verdict takes."""
    rng = np.random.default_rng([SEED, 7, WORLDS.index(world), round(1000 * loss)])
    waits = []
    for _ in range(runs):
        one = sample(world, rng, count, loss)
        seen = drawn(one.values, one.chosen, one.weights)
        waits.append(until(worse(seen, RATE_MARGIN, ALPHA / MEASURES) if loss else no_worse(seen, RATE_MARGIN)))
    return {"world": world.name, "loss": loss, **quantiles(waits), "once": once(world, loss)}


def once(world: World, loss: float) -> float:
    """Callers for a one-sided test at 5 % that is planned for this loss, looked at once, and right nine times in ten."""
    rate, weight = float(world.rate(1)[0]), float(world.weight(1)[0])
    spread = (rate + loss) * (1 - rate - loss) / weight + rate * (1 - rate) / (1 - weight)
    return (NORMAL_95 + NORMAL_90) ** 2 * spread / (loss - RATE_MARGIN) ** 2


def pairs(lost: float, gained: float, runs: int, count: int) -> dict[str, Any]:
    """The same of a shadow's pairs."""
    rng = np.random.default_rng([SEED, 9, round(1000 * lost), round(1000 * gained)])
    waits = []
    for _ in range(runs):
        seen = paired(rng.choice([1.0, -1.0, 0.0], count, p=[lost, gained, 1.0 - lost - gained]))
        alpha = ALPHA / len(MEASURED["shadow"])
        waits.append(until(worse(seen, RATE_MARGIN, alpha) if lost > gained else no_worse(seen, RATE_MARGIN)))
    return {"lost": lost, "gained": gained, **quantiles(waits)}


def quantiles(waits: list[float]) -> dict[str, float]:
    ordered = sorted(waits)
    return {"median": ordered[len(ordered) // 2], "nine_in_ten": ordered[int(0.9 * len(ordered))]}


def percent(share: float, runs: int) -> str:
    return f"{100 * share:.1f} ({100 * math.sqrt(share * (1 - share) / runs):.1f})"


def callers(value: float, most: int) -> str:
    return f"over {most:,}" if math.isinf(value) else f"{value:,.0f}"


def markdown(data: dict[str, Any]) -> str:
    runs, most = data["runs"], data["callers"]
    return "\n\n".join(
        [
            "# The verdict on a candidate: how often it errs, and how many callers it takes",
            f"`python bench/verdict_online.py --runs {runs} --callers {most}`; {machine_line(data['machine'])}, shared; "
            f"{data['seconds']:.0f} s.",
            "## How often it errs",
            f"Per cent of {runs:,} trials of {most:,} callers in which it is ever said, looked at after every caller; in brackets the "
            f"standard error; 5 is stated. The margin is {100 * RATE_MARGIN:g} points. *Shipped* is the verdict's own rule: beyond the "
            f"margin, at 5 % over {MEASURES}, since so many things are measured. *Two shares* is a one-sided test at 5 % of the "
            f"{QUESTIONS} questions of each caller, which are alike, one by one, from {FIRST} callers on.",
            table(
                ["bad of the stable release, candidate's share", "equal: any loss", "shipped", "two shares", "margin lost: no worse"],
                [[row["world"], *(percent(row[name], runs) for name in SAID)] for row in data["errs"]],
            ),
            "## How many callers it takes",
            "Callers of both releases together until the verdict on one measure: *no worse* where nothing is lost, *worse* where a loss "
            f"is planted. The median of {data['waits']:,} trials, and what nine in ten need at most. Beside it the "
            "callers of a one-sided test at 5 % that is planned for this very loss, looked at once, and right nine times in ten.",
            table(
                [
                    "bad of the stable release, candidate's share",
                    "loss, points",
                    "verdict",
                    "median",
                    "nine in ten",
                    "a test looked at once",
                ],
                [
                    [
                        row["world"],
                        f"{100 * row['loss']:g}",
                        "worse" if row["loss"] else "no worse",
                        callers(row["median"], most),
                        callers(row["nine_in_ten"], most),
                        f"{row['once']:,.0f}",
                    ]
                    for row in data["needed"]
                ],
            ),
            "Pairs of a shadow, one of each caller:",
            table(
                ["only the shadow bad, points", "only the stable one", "verdict", "median", "nine in ten"],
                [
                    [
                        f"{100 * row['lost']:g}",
                        f"{100 * row['gained']:g}",
                        "worse" if row["lost"] > row["gained"] else "no worse",
                        callers(row["median"], most),
                        callers(row["nine_in_ten"], most),
                    ]
                    for row in data["pairs"]
                ],
            ),
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--callers", type=int, default=10_000)
    parser.add_argument("--out", type=Path, default=Path("reports/bench"))
    options = parser.parse_args()
    begin, runs, most = time.perf_counter(), options.runs, options.callers
    waits = max(20, runs // 5)
    data: dict[str, Any] = {"machine": machine("numpy"), "runs": runs, "callers": most, "waits": waits}
    data["errs"] = [errs(world, runs, most) for world in WORLDS]
    data["needed"] = [needed(world, loss, waits, most) for world in WORLDS[:4] for loss in (0.0, 0.1, 0.2, 0.5)]
    data["pairs"] = [pairs(lost, gained, waits, most) for lost, gained in ((0.0, 0.0), (0.02, 0.02), (0.1, 0.0), (0.2, 0.05))]
    data["seconds"] = time.perf_counter() - begin
    write_report("verdict_online", data, markdown(data), options.out)
    print(markdown(data))


if __name__ == "__main__":
    main()
