"""A project of one's own: the folder that `touchstone init` makes."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from serving.pipeline.errors import ConfigError, StoreError
from serving.storage.draft import draft_folder

HERE = Path(__file__).resolve().parents[1]
TEMPLATE = HERE / "templates" / "project"
PROMPTS = (HERE / "templates" / "prompts", HERE.parent / "prompts")  # in an installed package, in a checkout
FAMILIES = ("answer/general", "judge", "synth")  # the prompts that know nothing of a company's departments
NAMES = {"github/quality.yml": ".github/workflows/quality.yml", "gitignore": ".gitignore"}  # a template's name → the project's


@dataclass(frozen=True, slots=True)
class TemplateFile:
    """A file of the template, and its place in a project."""

    source: Path
    place: Path


def template_files() -> list[TemplateFile]:
    """Every file that a new project gets."""
    prompts = next((folder for folder in PROMPTS if folder.is_dir()), None)
    if prompts is None:
        raise StoreError(f"The prompts of the package are not at {PROMPTS[0]}. Install Touchstone again.")
    return [*_files(TEMPLATE, TEMPLATE, Path()), *(one for name in FAMILIES for one in _files(prompts / name, prompts, Path("prompts")))]


def start_project(folder: Path) -> list[Path]:
    """Write a new project, all of it or nothing, and never over existing files; returns the files."""
    files = template_files()
    _check_free(folder, files)
    with draft_folder(folder.resolve()) as draft:
        for file in files:
            target = draft / file.place
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file.source, target)
        try:
            _place(draft, folder)
        except OSError as error:
            raise StoreError(f"{folder} could not be written: {error.strerror or error}.") from error
    return [file.place for file in files]


def _place(draft: Path, folder: Path) -> None:
    """Move the finished draft to its place: whole where nothing is there, else entry by entry into the folder."""
    if not folder.exists():
        draft.rename(folder.resolve())
        return
    for entry in sorted(draft.iterdir()):
        entry.rename(folder / entry.name)


def _check_free(folder: Path, files: list[TemplateFile]) -> None:
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder} is a file. Name a folder: touchstone init my-project")
    taken = sorted({file.place.parts[0] for file in files if (folder / file.place.parts[0]).exists()})
    if taken:
        raise ConfigError(
            f"{folder} holds {', '.join(taken)} already, and nothing is written over. Name another folder: touchstone init my-project"
        )


def _files(folder: Path, root: Path, below: Path) -> Iterator[TemplateFile]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            name = path.relative_to(root).as_posix()
            yield TemplateFile(path, below / NAMES.get(name, name))
