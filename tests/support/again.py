"""`make test-again`: the few tests that failed get one more try, one after another, with the machine to themselves.

One that fails again is broken. One that passes now is unsteady: it is named, as something to mend, and holds nobody up.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FAILED = Path(".pytest_cache/v/cache/lastfailed")
MOST = 5  # more than these is no accident


def main(root: Path = ROOT) -> int:
    failed = failed_tests(root)
    if not failed:
        sys.stderr.write("The tests ended without a list of what failed: nothing is tried again.\n")
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
    try:
        return frozenset(json.loads((root / FAILED).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return frozenset()


def _mark() -> str:
    return "::warning::" if os.environ.get("GITHUB_ACTIONS") else ""


if __name__ == "__main__":
    sys.exit(main())
