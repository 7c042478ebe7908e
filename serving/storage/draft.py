"""A temporary folder to build an index in; it replaces the target in one rename, or is removed."""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from serving.pipeline.errors import StoreError
from serving.storage.lock import file_lock


@contextmanager
def draft_folder(target: Path) -> Iterator[Path]:
    """A new folder beside `target`; removed in the end if it is still there. Leftovers of killed builders are removed first.

    Its lock is taken before the folder is made and dies with the process, so a folder without a held lock is abandoned.
    """
    folder = target.with_name(f".{target.name}.{uuid4().hex[:12]}")
    lock = folder.with_name(f"{folder.name}.lock")
    with ExitStack() as stack:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            _remove_abandoned(target)
            stack.enter_context(file_lock(lock))
            folder.mkdir()
        except OSError as error:
            raise StoreError(f"{target.parent}: cannot be written: {error.strerror or error}") from error
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            lock.unlink(missing_ok=True)


def publish_folder(folder: Path, target: Path, marker: str) -> None:
    """Rename a finished folder to the target; the folder of a builder that was first stays. Every complete folder has the file `marker`."""
    for _ in range(10):
        with suppress(OSError):
            folder.rename(target)
            return
        if (target / marker).exists():
            return
        with suppress(OSError):  # an incomplete folder of that name is moved away
            broken = target.with_name(f".{target.name}.{uuid4().hex[:12]}")
            target.rename(broken)
            shutil.rmtree(broken, ignore_errors=True)
    raise StoreError(f"{target}: cannot be replaced by the finished index. Is the folder writable?")


def _remove_abandoned(target: Path) -> None:
    for lock_path in target.parent.glob(f".{target.name}.*.lock"):
        with suppress(OSError), file_lock(lock_path, wait=False, create=False):  # raises while its builder lives
            shutil.rmtree(lock_path.with_suffix(""), ignore_errors=True)
            lock_path.unlink()
    for folder in target.parent.glob(f".{target.name}.*"):  # a stopped store's threads may recreate a removed folder
        if folder.is_dir() and not folder.with_name(f"{folder.name}.lock").exists():
            shutil.rmtree(folder, ignore_errors=True)
