"""Packages written into a temporary folder, as an installation would leave them."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from serving.pipeline import packages


def write_package(
    folder: Path, name: str, version: str, modules: Mapping[str, str], entry_points: str = "", *, listed: bool = True
) -> None:
    """Modules by their path, and the metadata of a distribution; without `listed` it is as an editable installation's."""
    for path, text in modules.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    for old in folder.glob(f"{name.replace('-', '_')}-*.dist-info"):
        for file in old.iterdir():
            file.unlink()
        old.rmdir()
    about = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (about / "entry_points.txt").write_text(entry_points)
    files = [*modules, *(f"{about.name}/{file}" for file in ("METADATA", "entry_points.txt", "RECORD"))] if listed else []
    (about / "RECORD").write_text("".join(f"{file},,\n" for file in files))


def forget() -> None:
    """Let this process look again at what is installed."""
    for known in (packages.entry_points_by_name, packages.origin, packages._installed, packages._distributions):
        known.cache_clear()


@contextmanager
def on_path(folder: Path) -> Iterator[None]:
    """A folder whose packages are installed for as long as the block lasts."""
    before = set(sys.modules)
    sys.path.insert(0, str(folder))
    forget()
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        for name in set(sys.modules) - before:
            if str(folder) in str(getattr(sys.modules[name], "__file__", "")):
                del sys.modules[name]
        forget()
