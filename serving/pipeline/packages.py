"""Classes of other packages: found by entry point or by import path, with the version of what they came from."""

import importlib
import importlib.util
import re
import sys
from collections.abc import Mapping
from functools import cache
from importlib.metadata import Distribution, EntryPoint, distribution, entry_points, packages_distributions
from pathlib import Path
from traceback import walk_tb
from typing import Any

from serving.pipeline.digest import LENGTH, sha256_file
from serving.pipeline.errors import ConfigError

IMPORT_PATH = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*:[^\W\d]\w*")  # "package.module:Class"

_installed = cache(entry_points)
_named_modules: set[str] = set()  # modules that a name led to
_distributions = cache(packages_distributions)


def is_import_path(name: str) -> bool:
    """Whether a name has the form "module:Class"."""
    return IMPORT_PATH.fullmatch(name) is not None


@cache
def offered(group: str) -> Mapping[str, EntryPoint]:
    """The entry points of a group by name, read from the metadata of what is installed; nothing is imported."""
    found: dict[str, EntryPoint] = {}
    for point in sorted(_installed().select(group=group), key=lambda point: (point.name, package_of(point))):
        other = found.setdefault(point.name, point)
        if other.value != point.value:
            packages = f"{package_of(other)} and {package_of(point)}"
            raise ConfigError(f"Two packages offer {point.name!r} in {group}: {packages}. Uninstall one, or name one as module:Class.")
    return found


def package_of(point: EntryPoint) -> str:
    """The distribution that an entry point comes with, such as "acme-rag 1.2.0"."""
    return _named(point.dist) if point.dist else "a package without a name"


def can_import(module: str) -> bool:
    """Whether there is a top-level module of this name, here or on the import path; it is not imported."""
    look_here()
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):  # ValueError: a module that was put together in memory
        return module in sys.modules


def look_here() -> None:
    """Let imports find the modules of the current folder, after everything that is installed."""
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.append(here)


def imported(target: str, what: str) -> Any:
    """What stands at "module:Class"; `what` begins the message where nothing does."""
    name, _, attributes = target.partition(":")
    look_here()
    try:
        found: Any = importlib.import_module(name)
        _named_modules.add(name)
    except ModuleNotFoundError as error:
        if error.name and f"{name}.".startswith(f"{error.name}."):
            places = f"sys.path and {Path.cwd()}"
            raise ConfigError(f"{what}: there is no module {error.name!r} on {places}. Install its package, or correct the name.") from None
        raise ConfigError(f"{what}: the module {name!r} needs {error.name!r}, which is not installed.") from error
    except (Exception, SystemExit) as error:  # SystemExit: a script that runs when it is imported
        said = " ".join(str(error).split())
        raise ConfigError(f"{what}: the module {name!r} cannot be imported: {type(error).__name__}: {said[:300]}") from error
    for attribute in attributes.split("."):
        if not hasattr(found, attribute):
            classes = ", ".join(sorted(key for key, value in vars(found).items() if isinstance(value, type) and value.__module__ == name))
            raise ConfigError(f"{what}: the module {name!r} has no {attribute!r}. Its classes: {classes or 'none'}.")
        found = getattr(found, attribute)
    return found


def place_of_fault(error: BaseException) -> str:
    """Where a named module of another package raised an error, as "module, line 12"; empty when none took part in it."""
    inner = [place_of_fault(one) for one in error.exceptions] if isinstance(error, BaseExceptionGroup) else []
    frames = [(str(frame.f_globals.get("__name__")), line) for frame, line in walk_tb(error.__traceback__)]
    own = [f"{module}, line {line}" for module, line in frames if module in _named_modules]
    return next(filter(None, inner), own[-1] if own else "")


@cache
def origin(found: type, package: str = "") -> str:
    """The distribution whose file defines a class, or the digest of the file where none does, after the `package` that offers it.

    The source of an editable installation is in no distribution's list of files, so that a change of it is seen at once.
    """
    file = getattr(sys.modules.get(found.__module__), "__file__", None)
    if file is None:
        return package or "no source file"
    path = Path(file).resolve()
    owner = _owner(found.__module__.partition(".")[0], path)
    return _named(owner) if owner else f"{package} source {sha256_file(path)[:LENGTH]}".strip()


def _owner(package: str, path: Path) -> Distribution | None:
    for name in sorted(set(_distributions().get(package, ()))):
        known = distribution(name)
        if any(Path(str(known.locate_file(file))).resolve() == path for file in known.files or () if file.name == path.name):
            return known
    return None


def _named(known: Distribution) -> str:
    return f"{known.name} {known.version}"
