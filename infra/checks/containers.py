"""Checks the images' recipes, the compose file and every shell script below infra/. A line per check; exit code 1 on a failure."""

import subprocess
import sys
from pathlib import Path

from infra.checks.compose_rules import compose_breaches
from infra.checks.dockerfile_rules import dockerfile_breaches

ROOT = Path(__file__).parents[2]
TOOLS = Path(sys.executable).parent


def found_by_tool(name: str, words: list[str | Path]) -> list[str]:
    """What a tool says of its files; nothing where it is content."""
    command = [str(TOOLS / str(words[0])), *map(str, words[1:])]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    said = f"{done.stdout}{done.stderr}".strip().splitlines()
    return said or [f"{name} ended with {done.returncode}"] if done.returncode else []


def main(root: Path = ROOT) -> int:
    """Run each check over its files."""
    dockerfiles = sorted(root.glob("infra/docker/*.Dockerfile"))
    scripts = sorted([*root.glob("infra/**/*.sh"), root / ".ci/run"])
    compose = root / "infra/compose.yaml"
    checks = {
        "hadolint": found_by_tool("hadolint", ["hadolint", *dockerfiles]),
        "recipes": [f"{file.name}: {what}" for file in dockerfiles for what in dockerfile_breaches(file.read_text(encoding="utf-8"))],
        "compose's schema": found_by_tool("check-jsonschema", ["check-jsonschema", "--builtin-schema", "vendor.compose-spec", compose]),
        "compose": compose_breaches(compose.read_text(encoding="utf-8")),
        "shellcheck": found_by_tool("shellcheck", ["shellcheck", *scripts]),
    }
    for name, found in checks.items():
        print(f"containers: {name}: {'ok' if not found else 'failed'}")
        print("".join(f"  {line}\n" for line in found), end="")
    return 1 if any(checks.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
