"""Do the intervals cover 95 %, do the tests reject 5 % of true nulls, and what do they cost?

    python bench/simulation.py [--repetitions 10000] [--runs cases.jsonl …] [--out reports/bench]

With `--runs` it also says what clustering by document does to the intervals of recorded evaluations, the first being A.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from _bench import machine, machine_line, paired, table, write_report
from scipy import stats

from harness.comparison.pairs import compare_metric
from harness.results.clusters import clusters_of
from harness.results.report_file import read_report
from harness.stats import compare_paired, mean_interval
from harness.stats.intervals import wilson

SEED = 20260930
SIZES = (30, 100, 500)
Draw = Callable[[np.random.Generator, tuple[int, int]], Any]


@dataclass(frozen=True, slots=True)
class World:
    """Where scores come from, and their true mean."""

    name: str
    draw: Draw
    mean: float


def binary(share: float) -> World:
    return World(f"binary, {share:g}", lambda rng, shape: (rng.random(shape) < share).astype(float), share)


def inflated(zeros: float) -> World:
    return World(
        f"{zeros:.0%} zeros, else beta(2, 3)", lambda rng, shape: (rng.random(shape) >= zeros) * rng.beta(2, 3, shape), (1 - zeros) * 0.4
    )


def signs(plus: float, minus: float) -> World:
    def draw(rng: np.random.Generator, shape: tuple[int, int]) -> Any:
        chance = rng.random(shape)
        return (chance < plus) * 1.0 - ((chance >= plus) & (chance < plus + minus)) * 1.0

    return World(f"differences −1, 0, 1: {minus:g} lost, {plus:g} gained", draw, plus - minus)


def sparse(rng: np.random.Generator, shape: tuple[int, int]) -> Any:
    return (rng.random(shape) < 0.3) * (rng.beta(2, 3, shape) - rng.beta(2, 3, shape))


MEANS = (
    binary(0.5),
    binary(0.1),
    World("lognormal, σ 0.5", lambda rng, shape: rng.lognormal(0, 0.5, shape), float(np.exp(0.125))),
    World("lognormal, σ 1", lambda rng, shape: rng.lognormal(0, 1, shape), float(np.exp(0.5))),
    World("beta(2, 8)", lambda rng, shape: rng.beta(2, 8, shape), 0.2),
    World("beta(0.5, 2)", lambda rng, shape: rng.beta(0.5, 2, shape), 0.2),
    inflated(0.6),
    inflated(0.8),
    World("70 % ones, else uniform", lambda rng, shape: np.where(rng.random(shape) < 0.7, 1.0, rng.random(shape)), 0.85),
    World("0, ½ or 1", lambda rng, shape: np.searchsorted([0.2, 0.35], rng.random(shape)) / 2, 0.725),
)
DIFFERENCES = (
    signs(0.05, 0.05),
    signs(0.1, 0.1),
    signs(0.25, 0.25),
    signs(0.2, 0.05),
    World("70 % zeros, else a difference of betas", sparse, 0.0),
    World("difference of lognormals, σ 1", lambda rng, shape: rng.lognormal(0, 1, shape) - rng.lognormal(0, 1, shape), 0.0),
    World("80 % zeros, else beta(2, 3): gains only", inflated(0.8).draw, 0.08),
)


def coverage(world: World, count: int, repetitions: int) -> dict[str, Any]:
    """How often the interval of a mean holds the truth, beside scipy's BCa bootstrap and Student's t."""
    rng = np.random.default_rng(SEED + count)
    samples = world.draw(rng, (repetitions, count))
    ours = [mean_interval(sample) for sample in samples.tolist()]
    inside = np.mean([one.low - 1e-12 <= world.mean <= one.high + 1e-12 for one in ours])  # type: ignore[operator]
    some = samples[: max(200, repetitions // 5)]
    varied = some[np.ptp(some, axis=1) > 0]
    found = stats.bootstrap((varied,), np.mean, axis=-1, n_resamples=999, method="BCa", batch=5, rng=rng).confidence_interval
    bca = ((found.low <= world.mean) & (world.mean <= found.high)).sum() / len(some)
    error = samples.std(axis=1, ddof=1) / np.sqrt(count) * stats.t.ppf(0.975, count - 1)
    student = np.mean(np.abs(samples.mean(axis=1) - world.mean) <= error)
    return {"world": world.name, "n": count, "coverage": float(inside), "bca": float(bca), "t": float(student)}


def wilson_coverage(centre: float, count: int) -> dict[str, Any]:
    """Exact coverage of Wilson's interval at one rate, and averaged over rates around it: single rates jump, as counts are whole."""
    successes = np.arange(count + 1)
    ends = [wilson(k / count, count) for k in successes]
    low, high = np.array([end.low for end in ends]), np.array([end.high for end in ends])

    def at(share: float) -> float:
        return float(stats.binom.pmf(successes, count, share)[(low <= share) & (share <= high)].sum())

    around = np.linspace(centre - 0.05, centre + 0.05, 401)
    return {"rate": centre, "n": count, "exact": at(centre), "around": float(np.mean([at(share) for share in around]))}


def rejection(world: World, count: int, repetitions: int) -> dict[str, Any]:
    """How often the interval of a difference holds the truth and, where the truth is 0, how often the test says otherwise."""
    rng = np.random.default_rng(SEED + 7 * count)
    found = [compare_paired([0.0] * count, sample) for sample in world.draw(rng, (repetitions, count)).tolist()]
    inside = float(np.mean([one.low - 1e-12 <= world.mean <= one.high + 1e-12 for one in found]))
    rejected = float(np.mean([one.outcome in ("better", "worse") for one in found]))
    return {"world": world.name, "n": count, "coverage": inside, "null": world.mean == 0.0, "rejected": rejected}


def clustered(groups: int, share: float, repetitions: int) -> dict[str, Any]:
    """Scores and differences whose clusters (3 cases on average) hold a share of the variance, with and without clustering."""
    rng = np.random.default_rng(SEED + groups)
    inside, rejected = np.zeros(2), np.zeros(2)
    for _ in range(repetitions):
        sizes = rng.geometric(1 / 3, groups)
        names = [str(name) for name in np.repeat(np.arange(groups), sizes)]
        both = np.sqrt(share) * np.repeat(rng.standard_normal(groups), sizes) + np.sqrt(1 - share) * rng.standard_normal(sizes.sum())
        for which, clusters in enumerate((None, names)):
            one = mean_interval(list(both), clusters)
            inside[which] += one.low <= 0.0 <= one.high  # type: ignore[operator]
            rejected[which] += compare_paired([0.0] * len(both), list(both), clusters).outcome in ("better", "worse")
    return {"clusters": groups, "share": share, "coverage": list(inside / repetitions), "rejected": list(rejected / repetitions)}


def speed() -> list[dict[str, Any]]:
    """The comparison of one metric on as many cases, as it was (scipy's resampling) and as it is."""
    rows = []
    for count in (50, 120, 369, 2000):
        rng = np.random.default_rng(count)
        before, after = rng.random(count), rng.random(count)

        def was(difference: Any = after - before) -> None:
            draw = np.random.default_rng(SEED)
            stats.bootstrap((difference,), np.mean, n_resamples=2000, method="BCa", rng=draw)
            stats.permutation_test(
                (difference,), lambda x, axis: x.mean(axis=axis), permutation_type="samples", n_resamples=10_000, vectorized=True, rng=draw
            )

        a, b = before.tolist(), after.tolist()
        found = paired(was, lambda a=a, b=b: compare_paired(a, b), rounds=7)  # type: ignore[misc]
        rows.append({"cases": count, "was_ms": found.first_ms, "is_ms": found.second_ms, "ratio": found.ratio})
    return rows


def recorded(paths: Sequence[Path]) -> list[dict[str, Any]]:
    """How much wider clustering by document makes the intervals of evaluations at hand."""
    if not paths:
        return []
    reports = [read_report(path) for path in paths]
    rows = []
    for name in reports[0].header.metrics:
        scored = [(value, row.case) for row in reports[0].rows if (value := row.value(name)) is not None]
        clusters = clusters_of(case for _, case in scored)
        alone, together = (mean_interval([value for value, _ in scored], names) for names in (None, clusters))
        ratio = (together.high - together.low) / (alone.high - alone.low)  # type: ignore[operator]
        apart = []
        for other in reports[1:]:
            held = compare_metric(reports[0], other, name)
            values = {row.case.id: row.value(name) for row in reports[0].rows}
            pairs = [(values[row.case.id], row.value(name)) for row in other.rows]
            both = [(a, b) for a, b in pairs if a is not None and b is not None]
            plain = compare_paired([a for a, _ in both], [b for _, b in both])
            apart.append((held.high - held.low) / (plain.high - plain.low) if plain.high > plain.low else None)
        rows.append({"metric": name, "cases": len(scored), "clusters": len(set(clusters)), "mean": ratio, "differences": apart})
    return rows


def percent(share: float) -> str:
    return f"{100 * share:.1f}"


def markdown(data: dict[str, Any]) -> str:
    parts = [
        "# Statistics, measured",
        f"`python bench/simulation.py --repetitions {data['repetitions']}`; {machine_line(data['machine'])}; {data['seconds']:.0f} s.",
        "Percentages of simulated samples. With this many repetitions a figure is good to about "
        f"±{200 * (0.05 * 0.95 / data['repetitions']) ** 0.5:.1f} points (two standard errors); the columns of BCa, of differences and of "
        f"clusters rest on {max(100, data['repetitions'] // 5)} repetitions, and are good to about ±1 point.",
        "## Intervals of a mean: how often they hold the truth (95.0 is meant)",
        "`mean_interval` against scipy's BCa bootstrap (999 resamples) and Student's t.",
        table(
            ["scores", "n", "ours", "BCa", "t"],
            [[row["world"], row["n"], percent(row["coverage"]), percent(row["bca"]), percent(row["t"])] for row in data["means"]],
        ),
        "A rate's coverage jumps from rate to rate, because counts are whole; exact figures for Wilson's interval, at the rate and "
        "averaged over rates up to 0.05 away:",
        table(
            ["rate", "n", "at it", "around it"],
            [[row["rate"], row["n"], percent(row["exact"]), percent(row["around"])] for row in data["wilson"]],
        ),
        "## Paired differences: coverage, and true nulls rejected (5.0 is meant)",
        table(
            ["differences", "n", "coverage", "rejected"],
            [
                [row["world"], row["n"], percent(row["coverage"]), percent(row["rejected"]) if row["null"] else "–"]
                for row in data["differences"]
            ],
        ),
        "## Cases in clusters",
        "3 cases on a document on average; a share of the variance is the document's. First each case for itself, then clustered.",
        table(
            ["documents", "share", "coverage alone", "clustered", "rejected alone", "clustered"],
            [[row["clusters"], row["share"], *map(percent, row["coverage"]), *map(percent, row["rejected"])] for row in data["clustered"]],
        ),
        "## Time of one comparison",
        "Was: scipy's BCa bootstrap (2,000 resamples) and permutation test (10,000). Is: a t interval, and signs flipped 9,999 times.",
        table(
            ["cases", "was ms", "is ms", "times faster"],
            [[row["cases"], f"{row['was_ms']:.1f}", f"{row['is_ms']:.2f}", f"{row['ratio']:.0f}"] for row in data["speed"]],
        ),
    ]
    if data["recorded"]:
        others = len(data["recorded"][0]["differences"])
        parts += [
            "## Recorded evaluations: width of intervals clustered by document, over the width of each case alone",
            table(
                ["metric", "cases", "clusters", "mean of A", *[f"difference {n + 1}" for n in range(others)]],
                [
                    [
                        row["metric"],
                        row["cases"],
                        row["clusters"],
                        f"{row['mean']:.2f}",
                        *[f"{x:.2f}" if x else "–" for x in row["differences"]],
                    ]
                    for row in data["recorded"]
                ],
            ),
        ]
    return "\n\n".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=10_000)
    parser.add_argument("--runs", type=Path, nargs="*", default=[])
    parser.add_argument("--out", type=Path, default=Path("reports/bench"))
    options = parser.parse_args()
    begin, few = time.perf_counter(), max(100, options.repetitions // 5)
    data: dict[str, Any] = {"repetitions": options.repetitions, "machine": machine("scipy", "numpy")}
    data["speed"] = speed()
    data["wilson"] = [wilson_coverage(rate, count) for rate in (0.5, 0.1, 0.9) for count in SIZES]
    data["recorded"] = recorded(options.runs)
    data["clustered"] = [clustered(groups, share, few) for groups in (10, 30, 100) for share in (0.0, 0.3, 0.6)]
    data["differences"] = [rejection(world, count, few) for world in DIFFERENCES for count in SIZES]
    data["means"] = [coverage(world, count, options.repetitions) for world in MEANS for count in SIZES]
    data["seconds"] = time.perf_counter() - begin
    write_report("statistics", data, markdown(data), options.out)
    print(markdown(data))


if __name__ == "__main__":
    main()
