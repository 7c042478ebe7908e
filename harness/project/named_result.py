"""A result with a name: its folder appears whole or not at all, and while it is made nobody else makes one of that name."""

import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.project.arguments import plain_name
from harness.settings import HarnessSettings
from serving.pipeline.errors import ConfigError, StoreError
from serving.storage.lock import file_lock

ResultKind = Literal["runs", "compare", "gates", "calibrations"]
WHAT = {"runs": "an evaluation", "compare": "a comparison", "gates": "a decision", "calibrations": "a calibration"}
MARKERS = {  # the file without which a folder is half-written
    "runs": "cases.jsonl",
    "compare": "compare.json",
    "gates": "decision.json",
    "calibrations": "calibration.json",
}
DRAFTS = ".drafts"  # below reports: what is being made, and the locks of its makers


@dataclass(frozen=True, slots=True)
class NamedResult:
    """A folder to fill, and what it becomes."""

    draft: Path
    folder: Path

    def publish(self) -> None:
        """Let the filled folder appear; one of that name that is half-written, as earlier versions left them, is replaced."""
        try:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            if self.folder.exists():
                shutil.rmtree(self.folder)
            self.draft.rename(self.folder)
        except OSError as error:
            raise StoreError(f"{self.folder} could not be written: {error.strerror or error}.") from error


@contextmanager
def named_result(settings: HarnessSettings, kind: ResultKind, name: str) -> Iterator[NamedResult]:
    """Take a name, or raise a `ConfigError` where it is taken; what is not published when the block ends is removed."""
    refuse_taken_name(settings, kind, name)
    drafts = settings.reports / DRAFTS
    with ExitStack() as stack:
        try:
            drafts.mkdir(parents=True, exist_ok=True)
            _sweep_up(drafts)
            stack.enter_context(file_lock(_lock(settings, kind, name), wait=False))
            stack.callback(_lock(settings, kind, name).unlink, missing_ok=True)
            draft = drafts / f"{kind}-{name}.{secrets.token_hex(4)}"
            draft.mkdir()
        except BlockingIOError:
            raise ConfigError(f"{_capital(WHAT[kind])} named {name!r} is being made by another process. {_MEND}, or wait for it.") from None
        except OSError as error:
            raise StoreError(f"{error.filename or drafts}: {error.strerror}. Nothing can be written to {settings.reports}.") from error
        stack.callback(shutil.rmtree, draft, ignore_errors=True)
        refuse_taken_name(settings, kind, name)  # it may have ended meanwhile
        yield NamedResult(draft, settings.reports / kind / name)


_MEND = "Choose another --name"


def refuse_taken_name(settings: HarnessSettings, kind: ResultKind, name: str) -> None:
    """A `ConfigError` where there is a whole result of that name."""
    folder = settings.reports / kind / plain_name(name)
    if _is_taken(folder, kind):
        raise ConfigError(f"There is {WHAT[kind]} named {name!r} already: {folder}. {_MEND}, or remove it.")


def is_free(settings: HarnessSettings, kind: ResultKind, name: str) -> bool:
    """Whether nobody has the name, or is about to."""
    return not _is_taken(settings.reports / kind / name, kind) and not _lock(settings, kind, name).exists()


def _is_taken(folder: Path, kind: ResultKind) -> bool:
    """Whether something stands there that must not be replaced: a whole result, or what is none of ours."""
    if not folder.is_dir():
        return folder.exists()
    files = {path.name for path in folder.iterdir()}
    return MARKERS[kind] in files or not files <= {"report.html", "report.md", "a.jsonl", "b.jsonl", "junit.xml", "summary.md"}


def _lock(settings: HarnessSettings, kind: ResultKind, name: str) -> Path:
    return settings.reports / DRAFTS / f"{kind}-{name}.lock"


def _sweep_up(drafts: Path) -> None:
    """Remove what killed processes left; the lock of a living one cannot be taken."""
    for lock in drafts.glob("*.lock"):
        with suppress(OSError), file_lock(lock, wait=False, create=False):
            for path in drafts.iterdir():
                if re.fullmatch(rf"{re.escape(lock.stem)}\.[0-9a-f]{{8}}", path.name):
                    shutil.rmtree(path, ignore_errors=True)
            lock.unlink()


def _capital(words: str) -> str:
    return words[0].upper() + words[1:]
