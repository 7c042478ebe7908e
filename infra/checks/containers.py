"""Checks the images' recipes, the compose file and every shell script below infra/. A line per check; exit code 1 on a failure."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
TOOLS = Path(sys.executable).parent


def main() -> int:
    """Run each tool over its files."""
    dockerfiles = sorted(ROOT.glob("infra/docker/*.Dockerfile"))
    scripts = sorted([*ROOT.glob("infra/**/*.sh"), ROOT / ".ci/run"])
    checks = {
        "hadolint": ["hadolint", *dockerfiles],
        "compose's schema": ["check-jsonschema", "--builtin-schema", "vendor.compose-spec", ROOT / "infra/compose.yaml"],
        "shellcheck": ["shellcheck", *scripts],
    }
    failed = False
    for name, (tool, *words) in checks.items():
        done = subprocess.run([str(TOOLS / str(tool)), *map(str, words)], capture_output=True, text=True, check=False, cwd=ROOT)
        failed |= done.returncode != 0
        print(f"containers: {name}: {'ok' if done.returncode == 0 else 'failed'}")
        if done.returncode:
            print(done.stdout + done.stderr, end="")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
