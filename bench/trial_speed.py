"""How many cases a second a sweep scores, beside an older checkout: the same experiment, one worker, an empty store, in turn.

    git worktree add OLD COMMIT && (cd OLD && uv sync --locked --all-extras)
    python bench/trial_speed.py --old OLD [--experiment FILE] [--rounds 2]

Both run in processes of their own, each with a fresh home and, apart from the timing of finalists (left out), the same configurations.
Processor time is that of the whole command, user and system, with the index built before. Scores may differ where a part was changed
since. Writes reports/bench/trial_speed.{json,md}.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import _bench
import yaml

EXPERIMENT = {
    "name": "speed",
    "about": "How fast is a trial?",
    "golden": "techcorp/v1",
    "base": {
        "index": {"chunker": {"name": "recursive", "size": 900, "overlap": 120}},
        "retrieve": {"search": {"name": "hybrid"}, "fusion": {"name": "weighted", "weight": 0.5}, "top_k": 6},
        "route": {"router": {"name": "rules", "pro_above": 0.9}},
        "answer": {"prompt": {"name": "general", "version": 1}},
    },
    "space": {
        "retrieve.top_k": {"int": [6, 10], "step": 2},
        "retrieve.fusion.weight": {"float": [0.3, 0.8], "step": 0.1},
        "route.router.pro_above": {"float": [0.1, 0.9], "step": 0.2},
        "answer.prompt.version": {"choice": [1, 2, 3]},
    },
    "objective": "quality",
    "pruner": {"name": "none"},
    "trials": 8,
    "cases": 80,
    "finalists": 1,
    "seed": 7,
}


@dataclass(frozen=True, slots=True)
class Run:
    """One sweep."""

    cases: int
    wall_s: float
    processor_s: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--old", type=Path, required=True, help="an older checkout, with its environment")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--out", type=Path, default=_bench.REPORTS)
    asked = parser.parse_args()
    here = Path(__file__).resolve().parents[1]
    runs: dict[str, list[Run]] = {"old": [], "new": []}
    with tempfile.TemporaryDirectory() as place:
        for name, checkout in (("old", asked.old), ("new", here)):  # the index is built, and every module compiled
            sweep(checkout, Path(place) / name, name, trials=1)
        for number in range(asked.rounds):
            for name, checkout in (("old", asked.old), ("new", here))[:: 1 if number % 2 == 0 else -1]:
                runs[name].append(sweep(checkout, Path(place) / name, name, trials=int(EXPERIMENT["trials"])))
    ratios = [one.processor_s / other.processor_s for one, other in zip(runs["old"], runs["new"], strict=True)]
    facts = _bench.machine("lancedb", "numpy")
    rows = [
        [name, *(f"{run.cases / run.processor_s:.1f}" for run in found), *(f"{run.cases / run.wall_s:.1f}" for run in found)]
        for name, found in runs.items()
    ]
    heads = [f"cases a processor second, round {number + 1}" for number in range(asked.rounds)]
    lines = [
        "# How fast a sweep scores its cases, beside an older checkout",
        "",
        f"Machine: {_bench.machine_line(facts)}, shared. {EXPERIMENT['trials']} trials of {EXPERIMENT['cases']} questions",
        "and a finalist on the holdout, one worker, an empty stage store, the index built before; in turn.",
        "Made by `python bench/trial_speed.py --old CHECKOUT`.",
        "",
        _bench.table(["", *heads, *(f"cases a second, round {number + 1}" for number in range(asked.rounds))], rows),
        "",
        f"Processor time: the new one needs 1/{statistics.median(ratios):.1f} of the old one's.",
    ]
    data = {"machine": facts, "runs": {name: [asdict(run) for run in found] for name, found in runs.items()}, "ratios": ratios}
    _bench.write_report("trial_speed", data, "\n".join(lines), asked.out)
    print("\n".join(lines))


def sweep(checkout: Path, home: Path, name: str, *, trials: int) -> Run:
    """One sweep in a process of its own; the stage store is emptied before."""
    home.mkdir(parents=True, exist_ok=True)
    for stage in (home / "stages").glob("*"):
        stage.unlink()
    experiment = home / "speed.yaml"
    experiment.write_text(yaml.safe_dump(EXPERIMENT | {"trials": trials} | ({"timing_cases": 0} if name == "new" else {})))
    environment = {**os.environ, "TOUCHSTONE_HOME": str(home), "TOUCHSTONE_REPORTS": str(home / "reports"), "PYTHONDONTWRITEBYTECODE": ""}
    command = [str(checkout / ".venv/bin/python"), "-m", "harness", "sweep", str(experiment), "--no-tracking", "--workers", "1", "--json"]
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, check=False)
    wall_s, after = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(f"{name}: {done.stderr[-2000:]}")
    holdout = 240  # the base and the finalist
    return Run(
        trials * int(EXPERIMENT["cases"]) + holdout,
        wall_s,
        after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
    )


if __name__ == "__main__":
    main()
