"""The gate, `pytest -m quality` and `deepeval test run` give one verdict; each is run as a user would, in a folder of its own."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.support.world import CONFIG, REPOSITORY, World

DEEPEVAL = {"DEEPEVAL_TELEMETRY_OPT_OUT": "1", "DEEPEVAL_DISABLE_DOTENV": "1", "DEEPEVAL_FILE_SYSTEM": "READ_ONLY"}
OTHER = "def test_something_else() -> None:\n    assert True\n"


def furnish_gate(world: World, at_least: float) -> None:
    """A gate of two rules, a champion, and the quality tests of this repository copied beside another test."""
    gate = {
        "name": "small",
        "golden": "tiny/v1",
        "split": "all",
        "metrics": ["quality"],
        "rules": [
            {"id": "facts", "rule": "floor", "metric": "key_facts", "at_least": at_least},
            {"id": "champion", "rule": "non_inferior", "metric": "key_facts", "margin": 0.2},
            {"id": "advice", "rule": "floor", "metric": "quality", "at_least": 1.1, "advisory": True},
        ],
    }
    for path, content in (("gates/pull_request.yaml", gate), ("configs/default.yaml", CONFIG)):
        place = world.root / "experiments" / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(yaml.safe_dump(content))
    shutil.copytree(REPOSITORY / "tests" / "quality", world.root / "tests" / "quality", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPOSITORY / "pyproject.toml", world.root)  # with pytest's settings as they are here
    (world.root / "tests" / "test_other.py").write_text(OTHER)
    assert world.touchstone("champion", "set", "-c", "experiments/configs/default.yaml").code == 0


def run_there(world: World, *command: str) -> "subprocess.CompletedProcess[str]":
    """A program of this environment, run in the small company's folder."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    program = Path(sys.executable).parent / command[0]
    return subprocess.run(
        [str(program), *command[1:]], cwd=world.root, env=environment | DEEPEVAL, capture_output=True, text=True, check=False
    )


@pytest.mark.slow
@pytest.mark.parametrize(("at_least", "code", "counts"), [(0.5, 0, "3 passed, 1 skipped"), (1.1, 1, "1 failed, 2 passed, 1 skipped")])
def test_gate_and_pytest_and_deepeval_agree_and_an_ordinary_run_leaves_the_gate_out(
    world: World, at_least: float, code: int, counts: str
) -> None:
    furnish_gate(world, at_least)
    assert world.touchstone("gate", "-c", "experiments/configs/default.yaml").code == code
    for command in (["pytest", "-m", "quality"], ["deepeval", "test", "run", "tests/quality"]):
        done = run_there(world, *command)
        assert done.returncode == code, done.stdout + done.stderr
        assert counts in re.sub("\x1b\\[[0-9;]*m", "", done.stdout)
    if code:  # the gate that fails is the one that would be noticed
        ordinary = run_there(world, "pytest")
        assert ordinary.returncode == 0, ordinary.stdout
        assert "1 passed" in ordinary.stdout
    assert not list(world.root.rglob(".deepeval"))
