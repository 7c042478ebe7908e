"""The one lock between processes of this machine; it dies with its process."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def file_lock(path: Path, *, wait: bool = True, create: bool = True) -> Iterator[None]:
    """Hold a file, made where there is none, or a folder; `BlockingIOError` without waiting while another thread or process holds it.

    Whatever else goes wrong is an `OSError` too: the caller knows what the lock is for, and says so.
    """
    handle = _held(path, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB, os.O_CREAT if create else 0)
    try:
        yield
    finally:
        os.close(handle)


def _held(path: Path, how: int, create: int) -> int:
    """An open, held file; it may be removed or replaced between opening and holding it, and is then opened again."""
    while True:
        flags = os.O_RDONLY if path.is_dir() else os.O_RDONLY | create
        handle = os.open(path, flags | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(handle, how)
            if os.path.samestat(os.fstat(handle), path.stat()):
                return handle
        except FileNotFoundError:
            pass
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)
