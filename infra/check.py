"""Runs the checks of infra/ that infra/checks/areas.yaml lists, two at a time: `make infra-check`."""

import argparse
import os
import shlex
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
AREAS = ROOT / "infra" / "checks" / "areas.yaml"
SKIPPED = 77
TIMEOUT_S = 3600


@dataclass(frozen=True)
class AreaResult:
    """How the check of one area ended."""

    area: str
    code: int
    output: str
    seconds: float

    @property
    def state(self) -> str:
        """ok, skipped or FAILED."""
        return {0: "ok", SKIPPED: "skipped"}.get(self.code, "FAILED")


def run(area: str, command: str, root: Path = ROOT) -> AreaResult:
    """Run one command; one that cannot be started or does not end is a failure, never a pass."""
    program, *arguments = shlex.split(command)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("TOUCHSTONE_", "AWS_"))}
    environment |= {
        "PYTHONPATH": str(root),
        "PATH": os.pathsep.join([str(root / ".touchstone/tools/bin"), str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
    }
    began = time.monotonic()
    try:
        done = subprocess.run(
            [sys.executable if program == "python" else program, *arguments],
            cwd=root,
            env=environment,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            stdin=subprocess.DEVNULL,
        )
        code, output = done.returncode, f"{done.stdout}{done.stderr}"
    except (OSError, subprocess.TimeoutExpired) as error:
        code, output = 1, str(error)
    return AreaResult(area, code, output.strip(), time.monotonic() - began)


def shown(outcome: AreaResult) -> str:
    """A line for an area that passed, all of its output for one that did not."""
    lines = outcome.output.splitlines() or ["said nothing"]
    text = " · ".join(lines) if outcome.code == 0 else lines[-1].removeprefix("skipped: ") if outcome.code == SKIPPED else ""
    head = f"{outcome.state:<8} {outcome.area:<14} {outcome.seconds:5.1f} s  {text}".rstrip()
    return head if text else "\n".join([head, *(f"    {line}" for line in lines)])


def main() -> int:
    """Print a line per area; exit code 1 where one fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("areas", nargs="*", help="which; default: all")
    parser.add_argument("--list", action="store_true", help="print the areas and their commands")
    chosen = parser.parse_args()
    known = yaml.safe_load(AREAS.read_text(encoding="utf-8"))
    if unknown := [area for area in chosen.areas if area not in known]:
        print(f"No area {unknown[0]!r}. Known: {', '.join(known)}.", file=sys.stderr)
        return 2
    wanted = {area: command for area, command in known.items() if not chosen.areas or area in chosen.areas}
    if chosen.list:
        print("\n".join(f"{area:<14} {command}" for area, command in wanted.items()))
        return 0
    outcomes = []
    with ThreadPoolExecutor(max_workers=2) as pool:
        for outcome in pool.map(lambda item: run(*item), wanted.items()):
            print(shown(outcome), flush=True)
            outcomes.append(outcome)
    number = {state: sum(outcome.state == state for outcome in outcomes) for state in ("ok", "FAILED", "skipped")}
    print(f"{number['ok']} passed, {number['FAILED']} failed, {number['skipped']} skipped")
    return 1 if number["FAILED"] else 0


if __name__ == "__main__":
    sys.exit(main())
