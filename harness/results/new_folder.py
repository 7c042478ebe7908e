"""Folders of results that are named by the time they were made at."""

from datetime import datetime
from itertools import count
from pathlib import Path


def new_folder(parent: Path, name: str, now: datetime) -> Path:
    """A folder that was not there before; what was made in the same second gets a number."""
    for number in count(1):
        folder = parent / f"{name}-{now:%Y%m%d-%H%M%S}{'' if number == 1 else f'-{number}'}"
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        return folder
    raise AssertionError("numbers do not end")
