"""Sweeps in processes of their own, killed, stopped, and run beside each other."""

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.sweep.folder import SweepFolder
from tests.support.sweeping import plain
from tests.support.world import CONFIG, NOVA, REPOSITORY, World, unreachable_bedrock

pytestmark = pytest.mark.slow

PATIENCE_S = 300.0
KILLS = {"1": 4, "2": 2}  # by workers


def more_cases(world: World, copies: int = 6) -> None:
    """The tiny set, each case several times in other words, so that a sweep takes long enough to be killed."""
    cases = world.root / "datasets/golden/tiny/v1/cases.jsonl"
    rows = [json.loads(line) for line in cases.read_text().splitlines()]
    again = [{**row, "id": f"{row['id']}-{n}", "question": f"{row['question']} (question {n})"} for n in range(copies) for row in rows]
    cases.write_text("".join(json.dumps(row) + "\n" for row in again))
    assert world.touchstone("golden", "seal", "tiny/v1").code == 0


def written(world: World, name: str, **changes: Any) -> Path:
    space = {
        "retrieve.top_k": {"int": [1, 6]},
        "retrieve.fusion.weight": {"float": [0.0, 1.0]},
        "answer.prompt.version": {"choice": [1, 2, 3]},
        "index.chunker.name": {"choice": ["sentence", "recursive"]},
    }
    asked = {"name": name, "golden": "tiny/v1", "base": CONFIG, "trials": 7, "finalists": 2, "block": 10, "space": space}
    path = world.root / f"{name}.yaml"
    path.write_text(yaml.safe_dump(json.loads(json.dumps(asked | changes))))  # without YAML's aliases, which are refused
    return path


def started(world: World, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    """A command in a process of its own."""
    with (world.root / "said.txt").open("a") as said:
        return subprocess.Popen(
            [sys.executable, "-m", "harness", *arguments],
            cwd=world.root,
            env=os.environ | environment,
            stdout=said,
            stderr=said,
            text=True,
            start_new_session=True,
            preexec_fn=_hears_ctrl_c,
        )


def _hears_ctrl_c() -> None:
    """Whoever runs the tests in the background has it ignored, and children would ignore it too."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def said(world: World) -> str:
    return (world.root / "said.txt").read_text()


def wait_for(world: World, condition: Callable[[], bool], process: subprocess.Popen[str] | None = None) -> None:
    """Until something is so, or the process has ended."""
    end = time.monotonic() + PATIENCE_S
    while not condition() and (process is None or process.poll() is None):
        assert time.monotonic() < end, said(world)
        time.sleep(0.01)


def finish(world: World, process: subprocess.Popen[str]) -> None:
    assert process.wait(PATIENCE_S) == 0, said(world)


def done_here(world: World, *arguments: str, **environment: str) -> None:
    """A command that is let end, in this process, which has all imported."""
    with pytest.MonkeyPatch.context() as here:
        for name, value in environment.items():
            here.setenv(name, value)
        done = world.touchstone(*arguments)
    assert done.code == 0, done.err


def files(folder: Path) -> int:
    """How far a sweep is: how many files it has written."""
    return len(list(folder.rglob("[!.]*")))


def folder_of(world: World, name: str) -> Path:
    found = list((world.root / "reports/sweeps").glob(f"{name}-*"))
    return found[0] if found else world.root / "none"


def decided(folder: Path) -> list[Any]:
    """The verdict as it was written, without what depends on the clock."""
    winner = json.loads((folder / "winner.json").read_text())
    facts = [winner["verdict"][name] for name in ("verdict", "reason", "against")]
    return [winner["config_digest"], *facts, *(one["metrics"] for one in winner["measured"])]


def runs_of(world: World, sweep: str) -> Counter[str]:
    """The runs below a sweep's, by name; all of them ended well."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{world.root}/.touchstone/mlflow/mlflow.db")
    experiment = client.get_experiment_by_name("touchstone").experiment_id
    (parent,) = client.search_runs([experiment], f"run_name LIKE '{sweep} %'")
    children = client.search_runs([experiment], f"tags.mlflow.parentRunId = '{parent.info.run_id}'")
    assert {run.info.status for run in [parent, *children]} == {"FINISHED"}
    assert all(run.data.metrics["quality"] >= 0 for run in children)
    return Counter(run.info.run_name for run in children)


def alive(session: int) -> list[int]:
    """The processes of a session that still run."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(int(path.parent.name))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.usefixtures("tracked")
def test_a_sweep_killed_again_and_again_ends_with_the_same_trials_and_numbers(world: World, workers: str) -> None:
    more_cases(world)
    sampler = "tpe" if workers == "1" else "random"  # what the others have found by then decides what TPE suggests
    calm, struck = (written(world, name, sampler=sampler) for name in ("calm", "struck"))
    done_here(world, "sweep", str(calm), "--workers", "1", TOUCHSTONE_STAGES="calm-stages")

    chance, kills = random.Random(f"kill {workers}"), 0
    for _ in range(KILLS[workers]):
        before = folder_of(world, "struck")
        process = started(world, "sweep", str(struck), "--workers", workers, *(["--resume"] if SweepFolder(before).exists() else []))
        at = files(before) + chance.randint(0, 5)  # so many more files, and then some moment
        wait_for(world, lambda: files(folder_of(world, "struck")) > at, process)  # noqa: B023
        moment = time.monotonic() + chance.random() / 2
        wait_for(world, lambda: time.monotonic() > moment, process)  # noqa: B023
        if process.poll() is not None:  # it was faster than we looked
            break
        process.kill()
        kills += process.wait() == -signal.SIGKILL
        wait_for(world, lambda: not alive(process.pid))  # noqa: B023 — its workers as well
    assert kills, said(world)
    done_here(world, "sweep", str(struck), "--workers", workers, "--resume")

    folders = [folder_of(world, name) for name in ("calm", "struck")]
    one, other = (plain(SweepFolder(folder).finished()) for folder in folders)
    assert one == other
    assert decided(folders[0]) == decided(folders[1])
    counts = runs_of(world, "struck")
    assert set(counts.values()) == {1}
    assert counts == runs_of(world, "calm")
    assert not list(folders[1].rglob(".*.*.*"))  # what a kill left half-written is swept up


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.usefixtures("tracked")
def test_ctrl_c_ends_cleanly_with_what_is_known_so_far(world: World, workers: str) -> None:
    more_cases(world)
    process = started(world, "sweep", str(written(world, "stopped", trials=40)), "--workers", workers)
    wait_for(world, lambda: SweepFolder(folder_of(world, "stopped")).finished_count() > 2, process)
    os.killpg(process.pid, signal.SIGINT)  # a terminal sends it to the workers as well
    assert process.wait(PATIENCE_S) == 130, said(world)
    wait_for(world, lambda: not alive(process.pid))

    folder = folder_of(world, "stopped")
    kept = SweepFolder(folder).finished()
    words = said(world)
    assert f"{len(kept)} of 40 trials are finished; the best so far is trial " in words
    assert f"To go on: touchstone sweep --folder {folder.relative_to(world.root)}" in words
    assert words.strip().endswith("touchstone: stopped; what was finished is kept")
    assert "Traceback" not in words
    assert not list(folder.rglob(".*.*.*"))
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{world.root}/.touchstone/mlflow/mlflow.db")
    assert client.get_run(SweepFolder(folder).record().run_id).info.status == "KILLED"
    done_here(world, "sweep", "--folder", str(folder), "--workers", workers, "--trials", str(len(kept) + 1))
    after = plain(SweepFolder(folder).finished())
    assert all(one in after for one in plain(kept))  # of two workers' trials an earlier one may have been cut off


@pytest.mark.slow
def test_two_sweeps_on_one_store_and_one_mlflow_file_do_not_disturb_each_other(world: World) -> None:
    more_cases(world)
    one, other = (written(world, name, sampler="random") for name in ("left", "right"))
    both = [started(world, "sweep", str(path)) for path in (one, other)]  # neither the store nor MLflow's file is there yet
    for process in both:
        finish(world, process)
    done_here(world, "sweep", str(written(world, "alone", sampler="random")), TOUCHSTONE_STAGES="own-stages")
    trials = [plain(SweepFolder(folder_of(world, name)).finished()) for name in ("left", "right", "alone")]
    assert trials[0] == trials[1] == trials[2]
    counts = [runs_of(world, name) for name in ("left", "right", "alone")]
    assert counts[0] == counts[1] == counts[2]
    assert set(counts[0].values()) == {1}
    with closing(sqlite3.connect(world.root / ".touchstone/stages/stages.db")) as base:
        assert base.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.usefixtures("tracked")
def test_a_sweep_begun_without_mlflow_is_gone_on_with_in_it(world: World) -> None:
    assert world.touchstone("sweep", "small.yaml", "--no-tracking").code == 0
    folder = folder_of(world, "small")
    assert SweepFolder(folder).record().run_id == ""
    again = world.touchstone("sweep", "--resume")
    assert again.code == 0, again.err
    assert SweepFolder(folder).record().run_id
    assert world.touchstone("sweep", "--resume").code == 0
    assert runs_of(world, "small")["finalist · the base"] == 1


def test_a_sweep_is_not_gone_on_with_by_other_prompts(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    prompts = world.root / "prompts"
    shutil.copytree(REPOSITORY / "prompts", prompts)
    monkeypatch.setenv("TOUCHSTONE_PROMPTS", str(prompts))
    assert world.touchstone("sweep", "small.yaml", "--no-tracking").code == 0
    told = world.touchstone("sweep", "--resume", "--no-tracking", "--trials", "4")
    assert told.code == 0, told.err
    for path in (prompts / "answer").glob("*/v*.md"):
        path.write_text(path.read_text() + "Be brief.\n")
    got = world.touchstone("sweep", "--resume", "--no-tracking", "--trials", "5")
    assert got.code == 2
    assert "Trial 0 was scored by what is no longer there (its configuration digest " in got.err
    assert "Put it back, or begin a new sweep." in got.err
    assert SweepFolder(folder_of(world, "small")).finished_count() == 4


def test_a_trial_that_could_not_be_tried_at_all_is_no_obstacle_to_going_on(world: World) -> None:
    space = {
        "answer.prompt.name": {"choice": ["general", "support"]},
        "answer.prompt.version": {"choice": [2, 99], "when": {"answer.prompt.name": "support"}},
    }
    path = written(world, "gap", space=space, sampler="grid", trials=4)
    first = world.touchstone("sweep", str(path), "--no-tracking")
    assert first.code == 0, first.err
    trials = SweepFolder(folder_of(world, "gap")).finished()
    assert [(one.state, len(one.report.rows)) for one in trials if one.values.get("answer.prompt.version") == 99] == [("failed", 0)]
    again = world.touchstone("sweep", "--resume", "--no-tracking")
    assert again.code == 0, again.err
    assert plain(SweepFolder(folder_of(world, "gap")).finished()) == plain(trials)


def test_an_outage_says_how_to_go_on(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    unreachable_bedrock(monkeypatch)
    nova = {"name": NOVA}
    base = CONFIG | {"answer": {"models": {"lite": nova, "pro": nova}}}
    got = world.touchstone("sweep", str(written(world, "dead", base=base)), "--no-tracking", "--yes")
    assert got.code == 3
    assert "Nothing is finished yet. To go on: touchstone sweep --folder " in got.err
    assert "cases were not answered" in got.err
