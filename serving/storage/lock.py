"""A file lock between processes of one machine; it is released when its process ends."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def file_lock(path: Path, *, wait: bool = True, create: bool = True) -> Iterator[None]:
    """Hold a file, made where there is none, or a folder; `BlockingIOError` without waiting while another thread or process holds it.

    Every other failure is an `OSError` too, for the caller to explain: it knows what the lock protects.
    """
    handle = _open_locked(path, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB, os.O_CREAT if create else 0)
    try:
        yield
    finally:
        os.close(handle)


def _open_locked(path: Path, operation: int, create: int) -> int:
    """Open and lock a file; it is opened again if it was removed or replaced before the lock was taken."""
    while True:
        flags = os.O_RDONLY if path.is_dir() else os.O_RDONLY | create
        handle = os.open(path, flags | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(handle, operation)
            if os.path.samestat(os.fstat(handle), path.stat()):
                return handle
        except FileNotFoundError:
            pass
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)
