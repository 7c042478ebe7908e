"""How often a verdict ships something worse, and how often it ships a real gain: simulated sweeps, comparisons and gates.

    python bench/verdict.py [--sweeps 2000] [--old 500] [--out reports/bench]

Every sweep has an incumbent and three finalists at lower prices, all worse (or all better) by a known amount; finalists are compared and
the winner is chosen by the functions of the product. Beside it stands the rule of before: no difference seen counted as none.
"""

import argparse
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from _bench import machine, machine_line, table, write_report
from _planted import METRIC, WORLDS, Planted, World, plant, reports
from scipy import stats

from harness.comparison.compare import compare_reports
from harness.gate.decide import decide
from harness.gate.gate import Gate
from harness.stats import Comparison, compare_paired
from harness.stats.clusters import cluster_sizes, cluster_sums, pseudo_values
from harness.stats.flips import flip_test
from harness.sweep.finalist import Finalist
from harness.sweep.verdict import choose

SEED = 20261129
SIZES = (5, 14, 30, 100, 300)
LOSSES = (0.0, 0.02, 0.05, 0.1, 0.5)
GAINS = (0.05, 0.1)
REGRESSIONS = (0.0, 0.05, 0.1, 0.2)
MARGIN, GATE_MARGIN = 0.02, 0.05
CHECKED = 10  # of each cell's pairs, through `compare` and the gate themselves
RULE = {"id": "r", "rule": "non_inferior", "metric": METRIC, "margin": GATE_MARGIN}
GATE = Gate.model_validate({"name": "g", "golden": "g/v1", "metrics": [METRIC], "rules": [RULE]})
KEPT = 50_000  # comparisons: of scores of 0 and 1 there are few different ones
_COMPARED: dict[tuple[int, bytes, bytes], Comparison] = {}
DOLLARS = (0.002, 0.0015, 0.001, 0.0008)  # of the incumbent and of three finalists


@dataclass(frozen=True, slots=True)
class Cell:
    """What is simulated many times."""

    place: int  # of the world
    count: int
    gain: float  # of every finalist over the incumbent; below 0 a loss
    clustered: bool

    @property
    def world(self) -> World:
        """Where its scores come from."""
        return WORLDS[self.place]

    def seed(self) -> int:
        """A seed of its own for each cell."""
        return SEED + self.count + round(1000 * (self.gain + 1)) * 1009 + self.place * 100_003 + self.clustered * 7


def ships(planted: Planted) -> bool:
    """Whether a sweep's own rule replaces the incumbent."""
    against = [compared(planted, place, among=len(planted.after)) for place in range(len(planted.after))]
    if not any(held.outcome == "better" or held.non_inferior for held in against):
        return False  # no rule could let it: evaluations are made only where `choose` has something to choose
    incumbent, *others = reports(planted, DOLLARS)
    finalists = [
        Finalist(SimpleNamespace(number=place, name=str(place), title=f"trial {place}", label=""), report, held)  # type: ignore[arg-type]
        for place, (report, held) in enumerate(zip((incumbent, *others), (None, *against), strict=True))
    ]
    return choose(finalists, METRIC, margin=MARGIN).winner is not finalists[0]


def compared(planted: Planted, place: int = 0, *, among: int = 1) -> Comparison:
    """A finalist beside the incumbent, as a sweep, `compare` and the gate compare them; the same differences are compared once."""
    before, after, names = planted.before, planted.after[place], [f"document:d{document}" for document in planted.documents]
    sums, sizes = cluster_sums(after - before, names), cluster_sizes(len(before), names)
    order = np.lexsort((sizes, sums))
    key = (among, sums[order].tobytes(), sizes[order].tobytes())
    if key not in _COMPARED:
        if len(_COMPARED) >= KEPT:
            _COMPARED.clear()
        _COMPARED[key] = compare_paired(before.tolist(), after.tolist(), names, margin=MARGIN, among=among)
    return _COMPARED[key]


def check_shortcut(planted: Planted, held: Comparison) -> None:
    """That `compare` and the gate say of evaluations with these scores what is counted here."""
    before, after = reports(planted, DOLLARS[:2])
    [metric] = compare_reports(before, after, [METRIC], margin=MARGIN).metrics
    assert (metric.comparison.outcome, metric.comparison.count) == (held.outcome, held.count)
    assert abs(metric.comparison.worst - held.worst) < 1e-4
    assert (decide(GATE, after, before, {}).state == "pass") == replace(held, margin=GATE_MARGIN).non_inferior


def old_ships(planted: Planted) -> bool:
    """The rule of before, kept as it was: a paired permutation test with Holm's correction; among ties the cheapest wins."""
    before, after, names = planted.before, planted.after, _old_clusters(planted)
    outcomes = _old_outcomes([other - before for other in after], names)
    usable = [0] + [place + 1 for place, outcome in enumerate(outcomes) if outcome != "worse"]
    scores = (before, *after)
    best = max(usable, key=lambda place: (float(scores[place].mean()), place == 0, -place))
    if best == 0:
        tied = [place for place in usable if place == 0 or outcomes[place - 1] == "tie"]
    else:
        others = [place for place in usable if place not in (0, best)]
        held = _old_outcomes([scores[place] - scores[best] for place in others], names)
        tied = [best, *(place for place, outcome in zip(others, held, strict=True) if outcome == "tie")]
        tied += [0] if outcomes[best - 1] == "tie" else []
    return min(tied, key=lambda place: DOLLARS[place]) != 0


def _old_clusters(planted: Planted) -> list[str] | None:
    names = [str(document) for document in planted.documents]
    return names if len(set(names)) >= 10 else None


def _old_outcomes(differences: Sequence[Any], names: list[str] | None) -> list[str]:
    """Outcomes by Holm's p-values."""
    p_values = [flip_test(cluster_sums(difference, names)) if difference.any() else 1.0 for difference in differences]
    order, highest = sorted(range(len(p_values)), key=lambda place: p_values[place]), 0.0
    outcomes = [""] * len(p_values)
    for rank, place in enumerate(order):
        highest = max(highest, min(1.0, p_values[place] * (len(p_values) - rank)))
        outcomes[place] = "tie" if highest > 0.05 else "better" if differences[place].mean() > 0 else "worse"
    return outcomes


def old_passes(planted: Planted) -> bool:
    """The gate's rule of before: the low end of Student's interval above minus the margin, all alike being certain."""
    difference = planted.after[0] - planted.before
    values = pseudo_values(difference, _old_clusters(planted))
    error = float(values.std(ddof=1)) / len(values) ** 0.5 if np.ptp(values) > 1e-12 else 0.0
    return bool(float(values.mean()) - float(stats.t.ppf(0.975, len(values) - 1)) * error > -GATE_MARGIN)


def old_called(planted: Planted) -> str:
    """The verdict of before on one metric."""
    return _old_outcomes([planted.after[0] - planted.before], _old_clusters(planted))[0]


def sweeps(cell: Cell, repetitions: int, old: int) -> dict[str, Any]:
    """The share of sweeps that replace the incumbent, by the rule as it is and as it was."""
    rng = np.random.default_rng(cell.seed())
    now, was = 0, 0
    for number in range(repetitions):
        planted = plant(rng, cell.world, cell.count, (cell.gain,) * 3, clustered=cell.clustered)
        now += ships(planted)
        was += old_ships(planted) if number < old else False
    return _facts(cell) | {"ships": now / repetitions, "shipped": was / min(old, repetitions)}


def pairs(cell: Cell, repetitions: int, old: int) -> dict[str, Any]:
    """What `compare` calls a pair, and whether the gate passes it, by the rules as they are and as they were."""
    rng = np.random.default_rng(cell.seed() + 1)
    called, was_called, detectable = (
        dict.fromkeys(("better", "equivalent", "worse", "undecided"), 0),
        {"better": 0, "tie": 0, "worse": 0},
        [],
    )
    passed, had_passed = 0, 0
    for number in range(repetitions):
        planted = plant(rng, cell.world, cell.count, (cell.gain,), clustered=cell.clustered)
        held = compared(planted)
        if number < CHECKED:
            check_shortcut(planted, held)
        called[held.outcome] += 1
        detectable.append(min(1.0, held.detectable))
        passed += replace(held, margin=GATE_MARGIN).non_inferior
        if number < old:
            was_called[old_called(planted)] += 1
            had_passed += old_passes(planted)
    few = min(old, repetitions)
    return _facts(cell) | {
        "called": {name: count / repetitions for name, count in called.items()},
        "was_called": {name: count / few for name, count in was_called.items()},
        "detectable": float(np.median(detectable)),
        "passes": passed / repetitions,
        "passed": had_passed / few,
    }


def _facts(cell: Cell) -> dict[str, Any]:
    return {"world": cell.world.name, "n": cell.count, "gain": cell.gain, "clustered": cell.clustered}


def percent(share: float) -> str:
    return f"{100 * share:.1f}"


def _sweep_rows(rows: Sequence[dict[str, Any]], changes: Sequence[float], key: str) -> list[list[str]]:
    found = {(row["world"], row["clustered"], row["n"], row["gain"]): row for row in rows}
    kinds = list(dict.fromkeys((row["world"], row["clustered"], row["n"]) for row in rows))
    return [
        [f"{world}{', clustered' if clustered else ''}", str(n), *(percent(found[world, clustered, n, gain][key]) for gain in changes)]
        for world, clustered, n in kinds
    ]


def _beside(now: list[list[str]], was: list[list[str]]) -> list[list[str]]:
    return [
        [*row[:2], *(f"{new} ({old})" for new, old in zip(row[2:], other[2:], strict=True))] for row, other in zip(now, was, strict=True)
    ]


def markdown(data: dict[str, Any]) -> str:
    losses, gains = [-loss for loss in LOSSES], list(GAINS)
    lost = [row for row in data["sweeps"] if row["gain"] <= 0]
    won = [row for row in data["sweeps"] if row["gain"] > 0]
    beyond = [row for row in lost if row["gain"] < -MARGIN - 1e-9]
    worst, was_worst = max(row["ships"] for row in beyond), max(row["shipped"] for row in beyond)
    error = 200 * (0.05 * 0.95 / data["repetitions"]) ** 0.5
    return "\n\n".join(
        [
            "# Verdicts on a planted truth",
            f"`python bench/verdict.py --sweeps {data['repetitions']} --old {data['old']}`; {machine_line(data['machine'])}, shared; "
            f"{data['seconds']:.0f} s.",
            "\n".join(f"- {world.name}: {world.about}" for world in WORLDS)
            + "\n- clustered: three cases a document on average; a document's cases change together",
            f"Figures are per cent; about 5 they are good to ±{error:.1f} points (two standard errors), those of the rule of before, in "
            f"brackets, to ±{200 * (0.05 * 0.95 / data['old']) ** 0.5:.1f}. Margin {MARGIN:g}, of the gate {GATE_MARGIN:g}.",
            "## Sweeps: how often a cheaper finalist that is truly worse replaces the incumbent",
            "Three finalists, each cheaper by a quarter or more and each truly worse by the amount at the head. What is worse by more "
            f"than the margin ships in at most **{percent(worst)} %** of the sweeps of any cell (5 allowed); by the rule of before in up "
            f"to {percent(was_worst)} %. A loss of 0 is none, and one of {MARGIN:g} is the margin itself.",
            table(
                ["scores", "n", *(f"loss {loss:g}" for loss in LOSSES)],
                _beside(_sweep_rows(lost, losses, "ships"), _sweep_rows(lost, losses, "shipped")),
            ),
            "## Sweeps: how often a real gain ships",
            "Three finalists, each cheaper and each truly better by the amount at the head. The rule of before ships cheaper ones whether "
            "they are better or worse, so its brackets are no power.",
            table(
                ["scores", "n", *(f"gain {gain:g}" for gain in GAINS)],
                _beside(_sweep_rows(won, gains, "ships"), _sweep_rows(won, gains, "shipped")),
            ),
            "## `compare` on one metric: wrong calls where nothing changed, and planted regressions found",
            "Wrong: called better or worse where the true difference is 0. Found: called worse. Detectable: the median of what the report "
            "itself says these cases show four times in five, at the spread seen.",
            table(
                ["scores", "n", "wrong calls", *(f"found: loss {loss:g}" for loss in REGRESSIONS[1:]), "detectable"],
                _compare_rows(data["pairs"]),
            ),
            f"## The gate's `non_inferior` with margin {GATE_MARGIN:g}: how often it passes",
            f"A loss of {GATE_MARGIN:g} or more must pass in at most 2.5 %. A change that keeps the mean passes as often as these cases "
            "can prove it.",
            table(
                ["scores", "n", *(f"loss {loss:g}" for loss in REGRESSIONS)],
                _beside(
                    _sweep_rows(data["pairs"], [-loss for loss in REGRESSIONS], "passes"),
                    _sweep_rows(data["pairs"], [-loss for loss in REGRESSIONS], "passed"),
                ),
            ),
        ]
    )


def _compare_rows(rows: Sequence[dict[str, Any]]) -> list[list[str]]:
    found = {(row["world"], row["clustered"], row["n"], row["gain"]): row for row in rows}
    lines = []
    for world, clustered, n in dict.fromkeys((row["world"], row["clustered"], row["n"]) for row in rows):
        same = found[world, clustered, n, 0.0]
        wrong, was_wrong = (row["better"] + row["worse"] for row in (same["called"], same["was_called"]))
        parts = [found[world, clustered, n, -loss] for loss in REGRESSIONS[1:]]
        lines.append(
            [
                f"{world}{', clustered' if clustered else ''}",
                str(n),
                f"{percent(wrong)} ({percent(was_wrong)})",
                *(f"{percent(row['called']['worse'])} ({percent(row['was_called']['worse'])})" for row in parts),
                f"{same['detectable']:.3f}" if same["detectable"] < 1.0 else "–",
            ]
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sweeps", type=int, default=2000, help="of each cell")
    parser.add_argument("--old", type=int, default=500, help="of these by the rule of before, too")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("reports/bench"))
    options = parser.parse_args()
    begin = time.perf_counter()
    data: dict[str, Any] = {"repetitions": options.sweeps, "old": min(options.old, options.sweeps), "machine": machine("scipy", "numpy")}
    places = [(place, clustered, count) for place in range(len(WORLDS)) for clustered in (False, True) for count in SIZES]
    changes = [*(-loss for loss in LOSSES), *GAINS]
    swept = [Cell(place, count, gain, clustered) for place, clustered, count in places for gain in changes]
    paired = [Cell(place, count, -loss, clustered) for place, clustered, count in places for loss in REGRESSIONS]
    with ProcessPoolExecutor(options.workers) as pool:
        data["sweeps"] = list(pool.map(partial(sweeps, repetitions=options.sweeps, old=data["old"]), swept))
        data["pairs"] = list(pool.map(partial(pairs, repetitions=options.sweeps, old=data["old"]), paired))
    data["seconds"] = time.perf_counter() - begin
    write_report("verdict", data, markdown(data), options.out)
    print(markdown(data))


if __name__ == "__main__":
    main()
