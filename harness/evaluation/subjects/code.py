"""What an app of the user's is known by: the import path of its code, a digest of the source, the package it came with."""

import importlib.metadata
import inspect
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from serving.pipeline.digest import digest_text


def facts_of(app: Any, import_path: str = "") -> Mapping[str, str]:
    """What is known of an object's code: its import path, a digest of its source, the distribution it came with."""
    code = inspect.unwrap(app) if callable(app) else app
    named = code if hasattr(code, "__qualname__") else type(code)
    module = import_path.partition(":")[0] or named.__module__ or "__main__"
    path = import_path or f"{module}:{named.__qualname__}"
    facts = {"path": path, "source": _source_digest(named, module, whole=bool(import_path))}
    return facts | {"distribution": _distribution(module)}


def _source_digest(code: Any, module: str, *, whole: bool) -> str:
    """Of the module's whole file where that is what was named, since an app is more than its last function; else of the object's source."""
    file = getattr(sys.modules.get(module), "__file__", None)
    if file and Path(file).is_file() and (whole or module != "__main__"):
        return digest_text(Path(file).read_text(encoding="utf-8", errors="replace"))
    return source_of(code)


def source_of(code: Any) -> str:
    """A digest of an object's own source; empty where there is none to read."""
    try:
        return digest_text(inspect.getsource(code))
    except (OSError, TypeError):
        return ""


def _distribution(module: str) -> str:
    """Name and version of the installed package of a module; empty for code that is in none."""
    top = module.partition(".")[0]
    names = importlib.metadata.packages_distributions().get(top, [])
    return f"{names[0]} {importlib.metadata.version(names[0])}" if names else ""
