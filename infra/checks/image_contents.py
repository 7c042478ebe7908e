"""What is in an image: its parts by size, its packages, and what has no place in it."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

MEGABYTE = 2**20
OURS = "opt/touchstone"


def sizes(root: Path) -> dict[str, float]:
    """Megabytes of the whole image and of its parts; bytecode and the C headers, tests and stubs of packages are told beside them."""
    found = Counter[str]()
    for path, size in files(root):
        inside = path.relative_to(root).as_posix()
        part = "packages" if "/site-packages/" in f"/{inside}" and inside.startswith(OURS) else "ours" if _ours(inside) else "base"
        found[part] += size
        found["all"] += size
        if part == "packages":
            kind = _kind(path)
            found[kind] += size if kind else 0
    return {name: round(found[name] / MEGABYTE, 1) for name in ("all", "base", "packages", "ours", "bytecode", "tests", "stubs")}


def packages(root: Path) -> dict[str, float]:
    """Megabytes by what stands at the top of site-packages."""
    found = Counter[str]()
    for folder in root.glob(f"{OURS}/venv/lib/python3*/site-packages"):
        for path, size in files(folder):
            name = path.relative_to(folder).parts[0]
            found[name.removesuffix(".libs").removesuffix(".py") if not name.endswith(".dist-info") else name.partition("-")[0]] += size
    return {name: round(size / MEGABYTE, 1) for name, size in found.most_common() if size >= MEGABYTE}


def holds(root: Path, unwanted: Sequence[str], tools: Sequence[str]) -> list[str]:
    """Packages and tools that are there and should not be."""
    folders = list(root.glob(f"{OURS}/venv/lib/python3*/site-packages"))
    return [name for name in unwanted if any((folder / name).exists() for folder in folders)] + [
        tool for tool in tools if (root / "usr/bin" / tool).exists()
    ]


def files(root: Path) -> Iterator[tuple[Path, int]]:
    """Every file below a folder with its bytes; what has two names is counted once, and links are not followed."""
    seen = set[tuple[int, int]]()
    for folder, _, names in os.walk(root):
        for name in names:
            path = Path(folder) / name
            stat = path.lstat()
            if stat.st_nlink > 1:
                if (stat.st_dev, stat.st_ino) in seen:
                    continue
                seen.add((stat.st_dev, stat.st_ino))
            yield path, stat.st_size


def _ours(inside: str) -> bool:
    return inside.startswith((f"{OURS}/", "project/"))


def _kind(path: Path) -> str:
    if path.suffix == ".pyc":
        return "bytecode"
    if path.suffix in (".pyi", ".h", ".hpp", ".pxd"):
        return "stubs"
    return "tests" if {"tests", "test"} & set(path.parts) else ""
