"""Loads classes of other packages by entry point or import path, and finds their package version."""

import importlib
import importlib.util
import json
import re
import sys
from collections.abc import Mapping
from functools import cache
from importlib.metadata import Distribution, EntryPoint, PackageNotFoundError, distribution, entry_points, packages_distributions
from pathlib import Path
from traceback import walk_tb
from typing import Any

from serving.pipeline.digest import LENGTH, sha256_file
from serving.pipeline.errors import ConfigError

IMPORT_PATH = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*:[^\W\d]\w*")  # "package.module:Class"

PACKAGE = "touchstone-rag"

_installed = cache(entry_points)
_named_modules: set[str] = set()  # modules that a name led to
_distributions = cache(packages_distributions)


def is_import_path(name: str) -> bool:
    """Whether a name has the form "module:Class"."""
    return IMPORT_PATH.fullmatch(name) is not None


@cache
def entry_points_by_name(group: str) -> Mapping[str, EntryPoint]:
    """The entry points of a group by name, read from the metadata of what is installed; nothing is imported."""
    points: dict[str, EntryPoint] = {}
    for point in sorted(_installed().select(group=group), key=lambda point: (point.name, package_of(point))):
        first = points.setdefault(point.name, point)
        if first.value != point.value:
            packages = f"{package_of(first)} and {package_of(point)}"
            raise ConfigError(f"Two packages offer {point.name!r} in {group}: {packages}. Uninstall one, or name one as module:Class.")
    return points


def package_of(point: EntryPoint) -> str:
    """The distribution that an entry point comes with, such as "acme-rag 1.2.0"."""
    return _label(point.dist) if point.dist else "a package without a name"


def can_import(module: str) -> bool:
    """Whether there is a top-level module of this name on the import path; it is not imported."""
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):  # ValueError: a module that was put together in memory
        return module in sys.modules


def add_current_folder() -> None:
    """Let imports find the modules of the current folder, after everything that is installed.

    The harness does so, since it works on a user's own code; a server never does: what its folder holds proves nothing.
    """
    folder = str(Path.cwd())
    if folder not in sys.path and "" not in sys.path:
        sys.path.append(folder)


def import_object(target: str, where: str) -> Any:
    """The object at "module:Class"; `where` begins the message of an error."""
    module, _, attributes = target.partition(":")
    try:
        target_object: Any = importlib.import_module(module)
        _named_modules.add(module)
    except ModuleNotFoundError as error:
        if error.name and f"{module}.".startswith(f"{error.name}."):
            places = f"sys.path and {Path.cwd()}" if str(Path.cwd()) in sys.path or "" in sys.path else "sys.path"
            raise ConfigError(
                f"{where}: there is no module {error.name!r} on {places}. Install its package, or correct the name."
            ) from None
        raise ConfigError(f"{where}: the module {module!r} needs {error.name!r}, which is not installed.") from error
    except (Exception, SystemExit) as error:  # SystemExit: a script that runs when it is imported
        reason = " ".join(str(error).split())
        raise ConfigError(f"{where}: the module {module!r} cannot be imported: {type(error).__name__}: {reason[:300]}") from error
    for attribute in attributes.split("."):
        if not hasattr(target_object, attribute):
            classes = ", ".join(
                sorted(key for key, value in vars(target_object).items() if isinstance(value, type) and value.__module__ == module)
            )
            raise ConfigError(f"{where}: the module {module!r} has no {attribute!r}. Its classes: {classes or 'none'}.")
        target_object = getattr(target_object, attribute)
    return target_object


def place_of_fault(error: BaseException) -> str:
    """Where a named module of another package raised an error, as "module, line 12"; empty when none took part in it."""
    inner = [place_of_fault(one) for one in error.exceptions] if isinstance(error, BaseExceptionGroup) else []
    frames = [(str(frame.f_globals.get("__name__")), line) for frame, line in walk_tb(error.__traceback__)]
    own = [f"{module}, line {line}" for module, line in frames if module in _named_modules]
    return next(filter(None, inner), own[-1] if own else "")


@cache
def origin(plugin: type, package: str = "") -> str:
    """The distribution that contains the file of a class, else the digest of that file, after the `package` of its entry point.

    An editable installation does not list its source files, so that every change of them changes the origin.
    """
    file = getattr(sys.modules.get(plugin.__module__), "__file__", None)
    if file is None:
        return package or "no source file"
    path = Path(file).resolve()
    source = _distribution_of(plugin.__module__.partition(".")[0], path)
    return _label(source) if source else f"{package} source {sha256_file(path)[:LENGTH]}".strip()


def _distribution_of(package: str, path: Path) -> Distribution | None:
    for name in sorted(set(_distributions().get(package, ()))):
        candidate = distribution(name)
        if any(Path(str(candidate.locate_file(file))).resolve() == path for file in candidate.files or () if file.name == path.name):
            return candidate
    return None


def _label(package: Distribution) -> str:
    return f"{package.name} {package.version}"


def install_command(extra: str) -> str:
    """How to add an extra of this package to where it is installed: from a checkout, or from where it came from."""
    try:
        origin = json.loads(distribution(PACKAGE).read_text("direct_url.json") or "{}")
    except (PackageNotFoundError, ValueError):
        origin = {}
    if origin.get("dir_info", {}).get("editable"):
        return f"uv sync --extra {extra}, in the checkout of Touchstone"
    source = f" @ {origin['url']}" if "url" in origin else ""  # none: an index has it
    return f'pip install "{PACKAGE}[{extra}]{source}"'
