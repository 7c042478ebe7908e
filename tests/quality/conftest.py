"""The pull request's gate as tests: held once, a test per rule.

Only when asked for: `pytest -m quality`, `pytest tests/quality` or `deepeval test run tests/quality`.
"""

import asyncio
from pathlib import Path

import pytest

from harness.cli.gate import PULL_REQUEST
from harness.gate.decision import Decision
from harness.gate.gate import load_gate
from harness.project import Project

HERE = Path(__file__).parent
CONFIG = Path("experiments/configs/default.yaml")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave these tests out of a run that neither names the marker nor this folder: they evaluate a whole configuration."""
    named = any(HERE in (path := Path(argument.split("::")[0]).resolve(), *path.parents) for argument in config.args)
    if named or "quality" in config.option.markexpr:
        return
    ours = [item for item in items if HERE in item.path.parents]
    if ours:
        config.hook.pytest_deselected(items=ours)
        items[:] = [item for item in items if item not in ours]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test per rule of the gate."""
    if "rule" in metafunc.fixturenames:
        metafunc.parametrize("rule", [rule.id for rule in load_gate(PULL_REQUEST).rules])


@pytest.fixture(scope="session")
def decision() -> Decision:
    """What the gate decides of the configuration that ships by default."""
    return asyncio.run(Project.open().gate(PULL_REQUEST, CONFIG)).decision
