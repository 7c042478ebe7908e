"""What the pipeline needs to run, pinned as uv.lock has it; without a checkout as it is installed."""

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PACKAGE = "touchstone-rag"
MODEL = ("mlflow", "pandas")  # what serves the model beside the pipeline


def pinned_requirements(root: Path, extras: Iterable[str] = ()) -> list[str]:
    """`name==version` of everything that the pipeline, with some of its extras, imports on this version of Python."""
    lock = root / "uv.lock"
    found = _locked(lock, tuple(extras)) if lock.is_file() else _installed(tuple(extras))
    return [f"{name}=={version}" for name, version in sorted(found.items())]


def _locked(lock: Path, extras: tuple[str, ...]) -> dict[str, str]:
    by_name: dict[str, list[dict[str, Any]]] = {}
    for package in tomllib.loads(lock.read_text(encoding="utf-8"))["package"]:
        by_name.setdefault(package["name"], []).append(package)
    found: dict[str, str] = {}
    seen: set[tuple[str, str]] = set()
    pending: list[Mapping[str, Any]] = [{"name": PACKAGE, "extra": list(extras)}, *({"name": name} for name in MODEL)]
    while pending:
        wanted = pending.pop()
        if "marker" in wanted and not Marker(wanted["marker"]).evaluate():
            continue
        versions = by_name[wanted["name"]]
        package = next((one for one in versions if one.get("version") == wanted.get("version")), _of_this_python(versions))
        if package["name"] != PACKAGE:
            found[package["name"]] = package["version"]
        for part in ("", *wanted.get("extra", ())):
            if (package["name"], part) not in seen:
                seen.add((package["name"], part))
                pending += package.get("optional-dependencies", {}).get(part, []) if part else package.get("dependencies", [])
    return found


def _of_this_python(versions: list[dict[str, Any]]) -> dict[str, Any]:
    """Of several versions in the lock the one for this interpreter."""
    fitting = [one for one in versions if any(Marker(mark).evaluate() for mark in one.get("resolution-markers", ["python_version >= '3'"]))]
    return (fitting or versions)[0]


def _installed(extras: tuple[str, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    pending: list[tuple[str, tuple[str, ...]]] = [(PACKAGE, extras), *((name, ()) for name in MODEL)]
    while pending:
        name, wanted = pending.pop()
        try:
            about = distribution(name)
        except PackageNotFoundError:
            continue
        if name != PACKAGE:
            found[name] = about.version
        new = (one for one in _required(about.requires or (), wanted) if one[0] not in found)
        pending += new
    return found


def _required(lines: Iterable[str], extras: tuple[str, ...]) -> Iterator[tuple[str, tuple[str, ...]]]:
    for line in lines:
        requirement = Requirement(line)
        if requirement.marker is None or any(requirement.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            yield canonicalize_name(requirement.name), tuple(requirement.extras)
