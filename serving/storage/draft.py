"""A folder to build in, that becomes the index in one step or vanishes."""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO
from uuid import uuid4

from serving.pipeline.errors import StoreError


@contextmanager
def draft_folder(target: Path) -> Iterator[Path]:
    """A new folder beside `target`; removed in the end if it is still there. What killed builders left is removed first.

    Its lock is taken before the folder is made and dies with the process, so a folder without a held lock is abandoned.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _clear(target)
        lock = _lock(target)
        folder = Path(lock.name).with_suffix("")
        folder.mkdir()
    except OSError as error:
        raise StoreError(f"{target.parent}: cannot be written: {error.strerror or error}") from error
    with lock:
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            Path(lock.name).unlink(missing_ok=True)


def _lock(target: Path) -> IO[str]:
    """A held lock of a new name; another's clearing may remove the file between opening and locking it, so look again."""
    while True:
        path = target.parent / f".{target.name}.{uuid4().hex[:12]}.lock"
        lock = path.open("w")
        fcntl.flock(lock, fcntl.LOCK_EX)
        if path.exists():
            return lock
        lock.close()


def move_in(folder: Path, target: Path, whole: str) -> None:
    """Make a finished folder the target; if another builder was first, its work stands. `whole` is the file that proves one."""
    for _ in range(10):
        with suppress(OSError):
            folder.rename(target)
            return
        if (target / whole).exists():
            return
        with suppress(OSError):  # something of that name that is no whole index: out of the way with it
            broken = target.with_name(f".{target.name}.{uuid4().hex[:12]}")
            target.rename(broken)
            shutil.rmtree(broken, ignore_errors=True)
    raise StoreError(f"{target}: cannot be replaced by the finished index. Is the folder writable?")


def _clear(target: Path) -> None:
    for lock_path in target.parent.glob(f".{target.name}.*.lock"):
        with suppress(OSError), lock_path.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # raises while its builder lives
            shutil.rmtree(lock_path.with_suffix(""), ignore_errors=True)
            lock_path.unlink()
    for folder in target.parent.glob(f".{target.name}.*"):  # a stopped store's own threads may write on after its folder was removed
        if folder.is_dir() and not folder.with_name(f"{folder.name}.lock").exists():
            shutil.rmtree(folder, ignore_errors=True)
