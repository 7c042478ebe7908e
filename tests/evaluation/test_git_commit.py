import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest

from harness import git_commit as checkout
from harness.git_commit import ROOT, code_version, commit


def git(root: Path, *words: str) -> str:
    name = ["-c", "user.name=t", "-c", "user.email=t@t", "-c", "commit.gpgsign=false"]
    return subprocess.run(["git", "-C", str(root), *name, *words], check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    git(tmp_path, "init", "-q")
    for name in ("harness/one.py", "serving/two.py", "docs/three.md"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("1\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "first")
    return tmp_path


def test_a_checkout_is_its_commit_marked_where_its_code_was_changed(root: Path) -> None:
    head = git(root, "rev-parse", "HEAD")
    (root / "docs/three.md").write_text("2\n")  # no code
    assert commit(root) == head
    (root / "serving/two.py").write_text("2\n")
    assert commit(root) == f"{head}+"
    git(root, "checkout", "serving")
    (root / "harness/new.py").write_text("1\n")
    assert commit(root) == f"{head}+"


def test_a_package_installed_inside_another_checkout_is_not_of_its_commit(root: Path) -> None:
    inside = root / "harness"
    assert commit(inside) == ""
    assert commit(root / "nowhere") == ""


def test_the_code_is_asked_for_once_and_is_the_version_where_there_is_no_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code_version.cache_clear()
    monkeypatch.setattr(checkout, "ROOT", tmp_path)  # the tests themselves run from a checkout
    assert code_version() == version("touchstone-rag")
    monkeypatch.setattr(checkout, "ROOT", ROOT)
    assert code_version() == version("touchstone-rag")
    code_version.cache_clear()
