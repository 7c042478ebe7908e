"""`compare` and the gate beside MLflow's `compare_evaluations`, ragops and the bare difference of means, on a planted truth.

    python bench/verdict_peers.py [--sets 200] [--intervals 40] [--out reports/bench]

All judge the same scores: those of bench/verdict.py, and a kind where a document's cases are right or wrong together. The other tools
live in an environment of their own below .touchstone, made on the first run, and are called through their public functions
(bench/_peers.py). Writes reports/bench/verdict_peers.{json,md}.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import requires
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from _bench import REPORTS, machine, machine_line, table, write_report
from _peers import FEW, GATE_MARGIN, MARGIN, Means, PeerAnswer, PeerAnswers, ScoredPair, read_answers, write_pairs
from _planted import WORLDS, Planted, World, plant
from verdict import GATE_MARGIN as OUR_GATE_MARGIN
from verdict import MARGIN as OUR_MARGIN
from verdict import Cell, check_shortcut, compared, percent

PINS = ("mlflow==3.18.0", "ragops==2.0.2")
SIZES = (14, 30, 100, 300)
LOSSES = (0.0, 0.02, 0.05, 0.1, 0.2, 0.4)
CHECKED_LOSS = 0.1  # the first pair of its cells is judged twice
OURS_CHECKED = 2  # of each cell's pairs, through `compare` and the gate themselves
SHOWN = 0.8
GROUPINGS = (("each case on its own", False), ("clustered", True))
DIFFERENCES = {  # columns: whose answer, and which of it
    "compare": ("ours", "called"),
    "MLflow": ("mlflow", "called"),
    "MLflow, interval": ("mlflow", "by_interval"),
    "means": ("means", "called"),
}
GATES = {"our gate": "ours", "ragops": "ragops", "MLflow": "mlflow", "MLflow, not worse": "mlflow", "means": "means"}
FOLDER = Path(".touchstone/bench-peers")
ROOT = Path(__file__).resolve().parent.parent


# ---- the others' environment -----------------------------------------------------------------------------------------------


def make_environment(folder: Path) -> Path:
    """The Python of the environment with the pinned tools, made where it is missing or holds other versions."""
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    asks = "from importlib.metadata import version as v; import mlflow.genai, ragops; print('mlflow=='+v('mlflow'), 'ragops=='+v('ragops'))"
    held = subprocess.run([python, "-c", asks], capture_output=True, text=True, check=False).stdout.split() if python.exists() else []
    if tuple(held) != PINS:
        uv = shutil.which("uv") or str(ROOT / ".touchstone/tools/bin/uv")
        subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, folder], check=True)
        with tempfile.TemporaryDirectory() as place:
            # the wheel `mlflow` holds all of `mlflow-skinny` and `mlflow-tracing`; an index may not have them in this version yet
            parts = Path(place, "without.txt")
            parts.write_text('mlflow-skinny; python_version < "3"\nmlflow-tracing; python_version < "3"\n')
            needed = [need for need in requires("mlflow-skinny") or () if "extra ==" not in need]
            command = [uv, "pip", "install", "--quiet", "--python", python, "--override", parts, *PINS, *needed]
            subprocess.run(command, check=True)
    return python


def start(python: Path, name: str, place: Path) -> subprocess.Popen[bytes]:
    """A tool at work on the pairs, in a process of its own."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    environment.pop("PYTHONPATH", None)
    with (place / f"{name}.log").open("wb") as log:
        command = [python.absolute(), ROOT / "bench/_peers.py", name, place / "pairs.jsonl", place / f"{name}.jsonl"]
        return subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd=place)


def finished(process: subprocess.Popen[bytes], name: str, place: Path) -> PeerAnswers:
    if process.wait():
        log = (place / f"{name}.log").read_text(encoding="utf-8", errors="replace")
        raise SystemExit(f"{name} stopped with {process.returncode}:\n{log[-3000:]}")
    return read_answers(place / f"{name}.jsonl")


# ---- the planted pairs -----------------------------------------------------------------------------------------------------


def _alike(_: np.random.Generator, before: Any, gain: float, chance: Any) -> Any:
    """Two fifths of the documents are answered again, all cases of one alike: right or wrong together."""
    share = min(1.0, max(0.4, -gain / 0.6))
    return np.where(chance < share, chance / share < 0.7 + gain / share, before)


ALIKE = World(
    "binary, alike",
    "0 or 1, 0.7 right; two fifths of the documents or more are answered anew, and all cases of one are then right or wrong together",
    WORLDS[0].before,
    _alike,
)
KINDS = (*WORLDS, ALIKE)


@dataclass(frozen=True, slots=True)
class PeerCell(Cell):
    """A cell that may also lie in the kind of scores that is planted here only."""

    @property
    def world(self) -> World:
        return KINDS[self.place]


def cells() -> list[PeerCell]:
    return [
        PeerCell(place, count, -loss, clustered)
        for place, kind in enumerate(KINDS)
        for clustered in ((True,) if kind is ALIKE else (False, True))
        for count in SIZES
        for loss in LOSSES
    ]


def planted(cell: Cell, sets: int) -> Iterator[Planted]:
    """The cell's pairs, the same whenever asked for; scores of bench/verdict.py are the same as there."""
    rng = np.random.default_rng(cell.seed() + 1)
    for _ in range(sets):
        yield plant(rng, cell.world, cell.count, (cell.gain,), clustered=cell.clustered)


def pairs(every: Sequence[Cell], sets: int, intervals: int) -> Iterator[ScoredPair]:
    for place, cell in enumerate(every):
        for number, one in enumerate(planted(cell, sets)):
            yield ScoredPair(
                place,
                number,
                one.before.tolist(),
                one.after[0].tolist(),
                interval=number < intervals,
                checked=number == 0 and cell.gain == -CHECKED_LOSS,
            )


def ours(every: Sequence[Cell], sets: int) -> tuple[list[PeerAnswer], list[float]]:
    """What `compare` and the gate say, and what `compare` says each cell's cases can show."""
    answers, detectable = [], []
    for place, cell in enumerate(every):
        seen = []
        for number, one in enumerate(planted(cell, sets)):
            held = compared(one)
            if number < OURS_CHECKED:
                check_shortcut(one, held)
            called = held.outcome if held.outcome in ("better", "worse") else "none"
            answers.append(PeerAnswer(place, number, called, passes=replace(held, margin=GATE_MARGIN).non_inferior))
            seen.append(min(1.0, held.detectable))
        detectable.append(float(np.median(seen)))
    return answers, detectable


# ---- what they said --------------------------------------------------------------------------------------------------------


def shares(of_cell: Sequence[PeerAnswer]) -> dict[str, float]:
    """How often a tool said what of a cell's pairs."""
    found = {}
    for name in ("called", "by_interval"):
        said = [value for answer in of_cell if (value := getattr(answer, name)) is not None]
        found |= {f"{name}_{side}": said.count(side) / len(said) for side in ("better", "worse") if said}
    passed = [answer.passes for answer in of_cell if answer.passes is not None]
    return found | {"passes": sum(passed) / len(passed), "pairs": len(of_cell)}


def rows(every: Sequence[Cell], said: Mapping[str, Sequence[PeerAnswer]], detectable: Sequence[float]) -> list[dict[str, Any]]:
    by_cell = {tool: [[] for _ in every] for tool in said}
    for tool, answers in said.items():
        for answer in answers:
            by_cell[tool][answer.cell].append(answer)
    return [
        {"world": cell.world.name, "n": cell.count, "loss": -cell.gain or 0.0, "clustered": cell.clustered, "detectable": detectable[place]}
        | {tool: shares(by_cell[tool][place]) for tool in said}
        for place, cell in enumerate(every)
    ]


def smallest_found(found: Sequence[tuple[float, float]]) -> float | None:
    """The loss from which on four in five are called worse, straight between the planted ones; `None` above the largest."""
    if found[-1][1] < SHOWN:
        return None
    for (low, below), (high, above) in reversed(list(pairwise(found))):
        if below < SHOWN:
            return low + (high - low) * (SHOWN - below) / (above - below)
    return found[0][0]


def passes(row: Mapping[str, Any], gate: str) -> float:
    """How often a gate lets the candidate pass; `not worse` takes "no significant loss" for a pass."""
    said = row[GATES[gate]]
    return float(1 - said["called_worse"] if gate == "MLflow, not worse" else said["passes"])


class CellTable:
    """The rows by kind of scores and number of cases."""

    def __init__(self, found: Sequence[Mapping[str, Any]]) -> None:
        self._by = {(row["world"], row["clustered"], row["n"], row["loss"]): row for row in found}
        self.kinds = list(dict.fromkeys((row["world"], row["clustered"], row["n"]) for row in found))

    def row(self, kind: tuple[str, bool, int], loss: float) -> Mapping[str, Any]:
        return self._by[(*kind, loss)]

    def worse(self, kind: tuple[str, bool, int], name: str) -> list[tuple[float, float]]:
        tool, rule = DIFFERENCES[name]
        return [(loss, self.row(kind, loss)[tool][f"{rule}_worse"]) for loss in LOSSES]

    def lines(self, cells_of: Any) -> list[list[str]]:
        return [[f"{kind[0]}{', clustered' if kind[1] else ''}", str(kind[2]), *cells_of(kind)] for kind in self.kinds]


def wrong(row: Mapping[str, Any], name: str) -> str:
    tool, rule = DIFFERENCES[name]
    return f"{percent(row[tool][f'{rule}_worse'])} / {percent(row[tool][f'{rule}_better'])}"


def wrong_summary(grid: CellTable) -> list[list[str]]:
    """How often something is called better or worse where nothing changed, mean and worst cell."""
    ranks = [("0 and 1, citation-like", ("binary", "citations")), (ALIKE.name, (ALIKE.name,)), ("skewed", ("skewed",))]
    return [
        [f"{kind}; {text}", *(_wrong_calls(grid, name, worlds, clustered) for name in DIFFERENCES)]
        for kind, worlds in ranks
        for text, clustered in GROUPINGS
        if clustered or ALIKE.name not in worlds
    ]


def found_summary(grid: CellTable) -> list[list[str]]:
    """The range of the smallest losses found, by the number of cases."""
    lines = []
    for size in SIZES:
        here = [kind for kind in grid.kinds if kind[2] == size and not kind[1]]
        found = {name: sorted((smallest_found(grid.worse(kind, name)) for kind in here), key=_above) for name in DIFFERENCES}
        lines.append([str(size), *(" … ".join(dict.fromkeys((_loss(few[0]), _loss(few[-1])))) for few in found.values())])
    return lines


def _wrong_calls(grid: CellTable, name: str, worlds: Sequence[str], clustered: bool) -> str:
    tool, rule = DIFFERENCES[name]
    held = [grid.row(kind, 0.0)[tool] for kind in grid.kinds if kind[1] == clustered and kind[0] in worlds]
    return _mean_and_worst([one[f"{rule}_worse"] + one[f"{rule}_better"] for one in held])


def gate_summary(grid: CellTable) -> list[list[str]]:
    """How often gates let a loss pass, mean and worst cell."""
    return [
        [f"loss {loss:g}; {text}"]
        + [_mean_and_worst([passes(grid.row(kind, loss), gate) for kind in grid.kinds if kind[1] == c]) for gate in GATES]
        for text, c in GROUPINGS
        for loss in LOSSES[:-1]
    ]


def _mean_and_worst(found: Sequence[float]) -> str:
    return f"{percent(sum(found) / len(found))} ({percent(max(found))})"


def _above(loss: float | None) -> float:
    return float("inf") if loss is None else loss


def _loss(found: float | None) -> str:
    return f"> {LOSSES[-1]:g}" if found is None else f"{found:.3f}"


def markdown(data: dict[str, Any]) -> str:
    grid, sets, versions = CellTable(data["cells"]), data["sets"], data["versions"]
    error = 200 * (0.05 * 0.95 / sets) ** 0.5
    judged, checked = len(data["cells"]) * sets, data["checked"]
    gate_losses = LOSSES[:-1]
    return "\n\n".join(
        [
            "# Verdicts beside other tools",
            f"`python bench/verdict_peers.py --sets {sets} --intervals {data['intervals']}`; {machine_line(data['machine'])}, shared; "
            f"{data['seconds']:.0f} s. MLflow {versions['mlflow']} (scipy {versions['scipy']}, numpy {versions['numpy']}) and ragops "
            f"{versions['ragops']} in an environment of their own.",
            f"Every tool judges the same {judged:,} pairs of evaluations, {sets} in each of {len(data['cells'])} cells: an incumbent and a "
            "candidate, on the planted scores of [verdict.md](verdict.md) and one kind more, the candidate truly worse by "
            f"{', '.join(f'{loss:g}' for loss in LOSSES)}. "
            f"MLflow's intervals are asked for {data['intervals']} of each cell. Figures are per cent; about 5 they are good to "
            f"±{error:.1f} points in one cell (two standard errors), those of MLflow's intervals to "
            f"±{error * (sets / data['intervals']) ** 0.5:.1f}.",
            "\n".join(f"- {world.name}: {world.about}" for world in KINDS)
            + "\n- clustered: three cases a document on average; a document's cases change together",
            "What each answer means:",
            "\n".join(
                [
                    f"- **compare**: `touchstone compare`, one metric, margin {MARGIN:g}: better or worse where the 95 % interval over "
                    "documents leaves 0 out; *equivalent* and *undecided* count as no call.",
                    "- **MLflow**: `mlflow.genai.compare_evaluations`, defaults. Better: `assert_improved` (p < 0.05 in a two-sided "
                    "McNemar test of scores of 0 and 1, else Wilcoxon's signed ranks) does not raise; worse: the same with the "
                    "direction turned. It has no margin, no clusters, and no word for *equal*. Wilcoxon asks about the ranks of what "
                    "changed; the direction is that of the mean, so that the two may speak of different things.",
                    "- **MLflow, interval**: the side of 0 on which its BCa bootstrap interval of the mean difference lies. It is "
                    "reported, and `assert_improved` does not look at it.",
                    f"- **means**: no statistics; worse or better where the means differ by more than {MARGIN:g}. ragops' "
                    "PASS/WARN/BLOCK release policy compares means by thresholds in this way.",
                    f"- **our gate**: the rule `non_inferior`, margin {GATE_MARGIN:g}: passes where the lower bound of the two-sided 95 % "
                    "interval lies above −margin, so a loss of the margin should pass in at most 2.5 %.",
                    f"- **ragops**: `compare_replay_bundles` (`ragops compare-runs`) by the policy of its published example (confidence "
                    f"0.95, 3 cases at least, 1,000 resamples), `max_regression` {GATE_MARGIN:g} instead of 0.03 so that both gates answer "
                    "one question: passes where the 5 % quantile of a bootstrap over cases is at least −margin, so a loss of the margin "
                    "should pass in at most 5 %. It never says *worse*, only that a loss is not ruled out.",
                    "- **MLflow** as a gate: `assert_improved` passes, which asks for a gain; **not worse**: no significant loss, which "
                    "takes what was not seen for what is not there.",
                    f"- **means** as a gate: the mean fell by at most {GATE_MARGIN:g}.",
                ]
            ),
            f"Shortcuts: MLflow reads the runs from memory instead of a store ({checked['mlflow']} pairs of {FEW} cases were also "
            f"evaluated and compared in a store: same test, same p); ragops' random draws are remembered ({checked['ragops']} pairs were "
            "also compared without: same report, digit for digit).",
            "## In short",
            "**Nothing changed, yet called better or worse**: mean over the cells, in brackets the highest. Skewed scores stand apart: "
            "there most cases gain a little and a few lose all. The ranks have changed and the mean has not, so that MLflow's p is small "
            "nearly always and its direction is that of a mean which is as often above 0 as below.",
            table(["scores", *DIFFERENCES], wrong_summary(grid)),
            "**The loss from which on four in five are called worse**, each case on its own: the range over the three kinds of scores. "
            "Whoever calls more where nothing changed finds smaller losses; read the two together.",
            table(["n", *DIFFERENCES], found_summary(grid)),
            f"**Passes a gate with margin {GATE_MARGIN:g}**: mean over the cells, in brackets the highest. At {GATE_MARGIN:g} and more a "
            "pass is wrong.",
            table(["the candidate", *GATES], gate_summary(grid)),
            "## Nothing changed: called worse / better",
            table(["scores", "n", *DIFFERENCES], grid.lines(lambda kind: [wrong(grid.row(kind, 0.0), name) for name in DIFFERENCES])),
            f"## Planted losses called worse: {' · '.join(f'{loss:g}' for loss in LOSSES[1:])}",
            table(
                ["scores", "n", *DIFFERENCES],
                grid.lines(lambda kind: [" · ".join(f"{100 * x:.0f}" for _, x in grid.worse(kind, name)[1:]) for name in DIFFERENCES]),
            ),
            "## The loss from which on four in five are called worse",
            "Straight between the planted ones. Last column: what `compare` itself says of such cases where nothing changed (median). It "
            "goes by the spread seen there; a larger loss changes more answers than that, and needs more cases.",
            table(
                ["scores", "n", *DIFFERENCES, "`detectable` says"],
                grid.lines(
                    lambda kind: [
                        *(_loss(smallest_found(grid.worse(kind, name))) for name in DIFFERENCES),
                        f"{said:.3f}" if (said := grid.row(kind, 0.0)["detectable"]) < 1.0 else "–",
                    ]
                ),
            ),
            f"## Gates with margin {GATE_MARGIN:g}: passes at a loss of {' · '.join(f'{loss:g}' for loss in gate_losses)}",
            f"Passing at {GATE_MARGIN:g} and more is wrong; passing at 0 is right, and as frequent as the cases can prove it.",
            table(
                ["scores", "n", *GATES],
                grid.lines(
                    lambda kind: [" · ".join(f"{100 * passes(grid.row(kind, loss), gate):.0f}" for loss in gate_losses) for gate in GATES]
                ),
            ),
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=int, default=200, help="pairs of each cell")
    parser.add_argument("--intervals", type=int, default=40, help="of these also with MLflow's bootstrap interval")
    parser.add_argument("--out", type=Path, default=REPORTS)
    options = parser.parse_args()
    assert (MARGIN, GATE_MARGIN) == (OUR_MARGIN, OUR_GATE_MARGIN)
    begin, every = time.perf_counter(), cells()
    FOLDER.mkdir(parents=True, exist_ok=True)
    python = make_environment(FOLDER / "env")
    with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
        place = Path(folder).absolute()
        write_pairs(place / "pairs.jsonl", pairs(every, options.sets, options.intervals))
        running = {name: start(python, name, place) for name in ("mlflow", "ragops")}
        try:
            held, detectable = ours(every, options.sets)
            plain, rule = Means(), pairs(every, options.sets, 0)
            others = {name: finished(process, name, place) for name, process in running.items()}
        finally:
            for process in running.values():
                process.kill()
    said = {"ours": held, "means": [plain.judge(pair) for pair in rule], **{name: one.answers for name, one in others.items()}}
    data = {
        "sets": options.sets,
        "intervals": min(options.intervals, options.sets),
        "machine": machine("scipy", "numpy"),
        "versions": {package: number for one in others.values() for package, number in one.versions.items()},
        "checked": {name: one.checked for name, one in others.items()},
        "tool_seconds": {name: round(one.seconds, 1) for name, one in others.items()},
        "cells": rows(every, said, detectable),
        "seconds": round(time.perf_counter() - begin, 1),
    }
    write_report("verdict_peers", data, markdown(data), options.out)
    print(markdown(data))


if __name__ == "__main__":
    main()
