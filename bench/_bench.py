"""What several benches need: the machine by name, two things timed in turn, and reports written whole."""

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from serving.storage.files import write_text

REPORTS = Path("reports/bench")


def machine(*packages: str) -> dict[str, Any]:
    """What the figures depend on: processor, cores, memory, Python and the versions of packages."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {name: version(name) for name in packages},
    }


def machine_line(facts: dict[str, Any]) -> str:
    """The same in one line for a report."""
    packages = "".join(f", {name} {number}" for name, number in facts["packages"].items())
    return f"{facts['processor']}, {facts['cores']} cores, {facts['memory_gb']} GB, {facts['system']}, Python {facts['python']}{packages}"


@dataclass(frozen=True, slots=True)
class Paired:
    """Medians of two things timed in turn, and the median of their ratios round by round."""

    first_ms: float
    second_ms: float
    ratio: float  # first / second: how many times faster the second is


def paired(first: Callable[[], object], second: Callable[[], object], *, rounds: int, warm_up: int = 1) -> Paired:
    """Time two things in turn, so that a busy neighbour slows both; who begins changes from round to round."""
    for _ in range(warm_up):
        first(), second()
    times: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds):
        for which in (0, 1) if number % 2 == 0 else (1, 0):
            begin = time.perf_counter()
            (first, second)[which]()
            times[which].append((time.perf_counter() - begin) * 1000)
    ratios = [one / other for one, other in zip(*times, strict=True)]
    return Paired(statistics.median(times[0]), statistics.median(times[1]), statistics.median(ratios))


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table; the first column left, the others right."""
    lines = [list(map(str, header)), ["---", *["---:"] * (len(header) - 1)], *[list(map(str, row)) for row in rows]]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def write_report(name: str, data: dict[str, Any], markdown: str, folder: Path = REPORTS) -> None:
    """`<folder>/<name>.json` and `.md`, each whole or not at all."""
    write_text(folder / f"{name}.json", json.dumps(data, indent=1, ensure_ascii=False) + "\n")
    write_text(folder / f"{name}.md", markdown.rstrip() + "\n")


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown processor"
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor())
