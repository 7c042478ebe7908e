"""`touchstone init`: a project of one's own."""

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import AsJson, print_json


def init(
    folder: Annotated[Path, typer.Argument(help="A new folder, or one without any of the files.")],
    as_json: AsJson = False,
) -> None:
    """Make a project: configuration, experiment, gates, prompts, sample documents with questions, a GitHub workflow."""
    from harness.project.starter import start_project

    files = start_project(folder)
    if as_json:
        print_json({"folder": str(folder), "files": [file.as_posix() for file in files]})
        return
    for name in dict.fromkeys(file.parts[0] for file in files):
        count = sum(file.parts[0] == name for file in files)
        typer.echo(f"  {name}{f'/  {count} files' if count > 1 or (folder / name).is_dir() else ''}")
    first = "touchstone eval --golden sample --config experiments/configs/default.yaml --name first"
    typer.echo(f"\nnext: cd {folder}\n      {first}\n      touchstone sweep experiments/first.yaml")
