"""`make test-again` passes what was an accident, names it, and nothing else."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.again import MOST, ROOT, main

UNSTEADY = """
    from pathlib import Path
    def test_it():
        seen = Path(__file__).with_name("seen")
        before = seen.exists()
        seen.touch()
        assert before
"""
STOPPED = """
    def test_it():
        raise KeyboardInterrupt
"""
BROKEN = """
    def test_it():
        assert False
"""


@pytest.fixture(autouse=True)
def outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """The runs that a test starts are no workers of the run that it is part of."""
    for name in ("PYTEST_XDIST_WORKER", "PYTEST_XDIST_TESTRUNUID", "PYTEST_ADDOPTS", "GITHUB_ACTIONS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # none of the plug-ins is needed, and loading them takes seconds
    monkeypatch.setenv("PYTEST_PLUGINS", "xdist.plugin")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def failing(folder: Path, *texts: str, ends: int = 1) -> None:
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "conftest.py").write_text("from tests.support.again import pytest_sessionfinish\n")
    for number, text in enumerate(texts):
        place = folder / f"part{number}"
        place.mkdir()
        lines = text.strip("\n").splitlines()
        (place / f"test_{number}.py").write_text("\n".join(line[4:] for line in lines))
    first = subprocess.run([sys.executable, "-m", "pytest", "-q", "-n0"], cwd=folder, capture_output=True, check=False)
    assert first.returncode == ends


def test_what_passes_alone_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    failing(tmp_path, UNSTEADY)
    assert main(tmp_path) == 0
    assert capsys.readouterr().out == "UNSTEADY: failed beside others, passed alone: part0/test_0.py::test_it\n"


def test_what_fails_again_is_broken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    failing(tmp_path, UNSTEADY, BROKEN)
    assert main(tmp_path) == 1
    assert "part0" in (said := capsys.readouterr().out)
    assert "part1" not in said


def test_many_are_no_accident(tmp_path: Path) -> None:
    failing(tmp_path, *[UNSTEADY] * (MOST + 1))
    assert main(tmp_path) == 1


def test_a_run_that_was_broken_off_is_not_made_good(tmp_path: Path) -> None:
    failing(tmp_path, UNSTEADY, STOPPED, ends=2)
    assert main(tmp_path) == 1


def test_a_run_that_left_no_list_is_not_made_good(tmp_path: Path) -> None:
    assert main(tmp_path) == 1
