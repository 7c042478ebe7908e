"""Writing new golden sets and versions: whole folders or none, and never over what is there."""

import re
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import yaml

from harness.golden.case import Case
from harness.golden.seal import write_cases
from harness.golden.sets import Card
from serving.pipeline.errors import ConfigError, DataError, StoreError
from serving.storage.files import write_text

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def check_name(name: str) -> None:
    """Refuse what cannot be the name of a folder everywhere."""
    if not NAME.fullmatch(name):
        raise ConfigError(f"--name {name!r}: letters, digits, '.', '_' and '-' only, at most 64, a letter or digit first.")


@contextmanager
def new_folders(*targets: Path) -> Iterator[tuple[Path, ...]]:
    """Folders to fill, hidden beside their targets; renamed to them when all is written, gone when anything fails."""
    drafts = tuple(target.with_name(f".{target.name}.{secrets.token_hex(4)}") for target in targets)
    placed: list[Path] = []
    try:
        for draft in drafts:
            draft.mkdir(parents=True)
        yield drafts
        for draft, target in zip(drafts, targets, strict=True):
            draft.rename(_free(target))
            placed.append(target)
    except BaseException as error:
        for folder in (*drafts, *placed):
            shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, OSError):
            raise StoreError(f"{error.filename or targets[0]} could not be written: {error.strerror or error}.") from error
        raise


def _free(target: Path) -> Path:
    if target.exists():
        raise DataError(f"{target} has appeared meanwhile; nothing was written.")
    return target


def write_version(folder: Path, card: Card, body: str, cases: Sequence[Case]) -> None:
    """Fill an empty folder with a version of a golden set: card, cases and sums."""
    head = yaml.safe_dump(card.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=1000)
    write_text(folder / "CARD.md", f"---\n{head}---\n{body.lstrip()}")
    write_cases(folder, cases)
