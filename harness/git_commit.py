"""Which code this is: the commit of the checkout it runs from, or the installed version."""

import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("harness", "serving", "touchstone")


@cache  # git is asked once per process: what runs does not change
def code_version() -> str:
    """The commit, with a "+" where the code differs from it; outside a checkout the version of the installed package."""
    return commit(ROOT) or _installed()


def commit(root: Path) -> str:
    """The commit that a checkout's code stands at, with a "+" where it was changed since; empty where the folder is no checkout."""
    found = _git(root, "rev-parse", "--show-toplevel", "HEAD").splitlines()
    if len(found) != 2 or Path(found[0]).resolve() != root.resolve():  # an environment inside someone else's checkout
        return ""
    return found[1] + ("+" if _git(root, "status", "--porcelain", "--", *PACKAGES) else "")


def _git(root: Path, *words: str) -> str:
    command = ["git", "--no-optional-locks", "-C", str(root), *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)  # noqa: S603 — no word of it is a user's
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _installed() -> str:
    try:
        return version("touchstone-rag")
    except PackageNotFoundError:
        return ""
