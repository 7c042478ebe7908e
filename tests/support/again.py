"""`make test-again`: the few tests that failed get one more try, one after another, with the machine to themselves.

One that fails again is broken. One that passes now is unsteady: it is named, as something to mend, and holds nobody up. A run that did not
come to its end is not made good.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
FAILED = Path(".pytest_cache/v/cache/lastfailed")
STATUS = "touchstone/exit_status"  # of the last run, in pytest's cache
MOST = 5  # more than these is no accident


def main(root: Path = ROOT) -> int:
    failed = failed_tests(root)
    if not failed or _read(root / ".pytest_cache/v" / STATUS, None) != pytest.ExitCode.TESTS_FAILED:
        sys.stderr.write("The tests did not run to their end, or none failed: nothing is tried again.\n")
        return 1
    if len(failed) > MOST:
        sys.stderr.write(f"{len(failed)} tests failed; up to {MOST} are tried again.\n")
        return 1
    command = [sys.executable, "-m", "pytest", "-n0", "--last-failed", "--last-failed-no-failures=none"]
    code = subprocess.run(command, cwd=root, check=False).returncode
    for name in sorted(failed - failed_tests(root)):
        sys.stdout.write(f"{_mark()}UNSTEADY: failed beside others, passed alone: {name}\n")
    return code


def failed_tests(root: Path) -> frozenset[str]:
    """The tests that failed the last time they ran."""
    return frozenset(_read(root / FAILED, ()))


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """A hook: write down how a run ended."""
    if session.config.cache and not hasattr(session.config, "workerinput"):
        session.config.cache.set(STATUS, int(exitstatus))


def _read(path: Path, otherwise: Any) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return otherwise


def _mark() -> str:
    return "::warning::" if os.environ.get("GITHUB_ACTIONS") else ""


if __name__ == "__main__":
    sys.exit(main())
