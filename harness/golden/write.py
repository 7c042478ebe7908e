"""Writing new golden sets and versions: whole folders or none, and never over what is there."""

import re
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import yaml

from harness.golden.case import Case
from harness.golden.seal import write_cases
from harness.golden.sets import Card
from serving.pipeline.errors import ConfigError, DataError, StoreError
from serving.storage.files import write_text
from serving.storage.lock import file_lock

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def check_name(name: str) -> None:
    """Refuse what cannot be the name of a folder everywhere."""
    if not NAME.fullmatch(name):
        raise ConfigError(f"--name {name!r}: letters, digits, '.', '_' and '-' only, at most 64, a letter or digit first.")


@contextmanager
def new_folders(*targets: Path) -> Iterator[tuple[Path, ...]]:
    """Folders to fill, hidden beside their targets; renamed to them when all is written, gone when anything fails.

    Of several processes one makes them; what a killed one left is removed first, a target that it had placed without the last included.
    """
    drafts = tuple(target.with_name(f".{target.name}.{secrets.token_hex(4)}") for target in targets)
    placed: list[Path] = []
    with _alone(targets) as lock:
        try:
            for draft in drafts:
                draft.mkdir(parents=True)
            yield drafts
            for target in targets:
                _free(target)
            lock.write_text("\n".join(str(target.absolute()) for target in targets), encoding="utf-8")  # what is half-placed from here on
            for draft, target in zip(drafts, targets, strict=True):
                draft.rename(target)
                placed.append(target)
        except BaseException as error:
            for folder in (*drafts, *placed):
                shutil.rmtree(folder, ignore_errors=True)
            if isinstance(error, OSError):
                raise StoreError(f"{error.filename or targets[0]} could not be written: {error.strerror or error}.") from error
            raise


def sweep_up(*targets: Path) -> None:
    """Remove what a killed process left of these targets; a `ConfigError` where a living one is making them."""
    if _lock(targets).exists():
        with _alone(targets):
            pass


@contextmanager
def _alone(targets: Sequence[Path]) -> Iterator[Path]:
    """Keep other processes from making the same, and remove what a killed one left."""
    lock = _lock(targets)
    with ExitStack() as stack:
        try:
            lock.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(file_lock(lock, wait=False))
        except BlockingIOError:
            raise ConfigError(f"{targets[-1]} is being made by another process. Wait for it, or choose another name.") from None
        except OSError as error:
            raise StoreError(f"{error.filename or lock} could not be written: {error.strerror or error}.") from error
        stack.callback(lock.unlink, missing_ok=True)
        half_placed = lock.read_text(encoding="utf-8").splitlines()
        for target in targets:
            if target.parent.is_dir():
                for path in target.parent.iterdir():
                    if re.fullmatch(rf"\.{re.escape(target.name)}\.[0-9a-f]{{8}}", path.name):
                        shutil.rmtree(path, ignore_errors=True)
            if str(target.absolute()) in half_placed and not targets[-1].exists():
                shutil.rmtree(target, ignore_errors=True)
        lock.write_text("", encoding="utf-8")
        yield lock


def _lock(targets: Sequence[Path]) -> Path:
    return targets[-1].with_name(f".{targets[-1].name}.lock")


def _free(target: Path) -> None:
    if target.exists():
        raise DataError(f"{target} has appeared meanwhile; nothing was written.")


def write_version(folder: Path, card: Card, body: str, cases: Sequence[Case]) -> None:
    """Fill an empty folder with a version of a golden set: card, cases and sums."""
    head = yaml.safe_dump(card.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=1000)
    write_text(folder / "CARD.md", f"---\n{head}---\n{body.lstrip()}")
    write_cases(folder, cases)
