"""Reads one file of a folder that may be hostile: a pipe, a device, a link out of the folder, a file that grows."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from serving.pipeline.errors import DataError, RefusedFile


def read_file(path: Path, *, most: int, inside: Path) -> bytes:
    """The bytes of a regular file that holds at most so many, lies (all links followed) inside a folder, and is not being written to."""
    with open_file(path, inside=inside) as file:
        before = os.fstat(file.fileno())
        if before.st_size > most:
            raise RefusedFile(str(path), f"has {before.st_size / 1e6:.1f} MB; at most {most / 1e6:g} MB are read. Split it.")
        data = file.read(most + 1)
        after = os.fstat(file.fileno())
    if len(data) != before.st_size or (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
        raise DataError(f"{path}: was changed while it was read. Try again when nothing writes to it.")
    return data


@contextmanager
def open_file(path: Path, *, inside: Path) -> Iterator[IO[bytes]]:
    """A regular file of a folder, opened; a pipe or device is never waited for, and no link leads out of the folder."""
    real = real_path(path) if path.is_symlink() else path
    if real != path and not real.is_relative_to(real_path(inside)):
        raise DataError(f"{path}: is a link to {str(real)!r}, outside {str(inside)!r}. Copy the file in, or remove the link.")
    try:
        with open(real, "rb", opener=_opener) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise DataError(f"{path}: is not a regular file.")
            yield file
    except FileNotFoundError:
        raise DataError(f"No file {str(path)!r}.") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None


def real_path(path: Path) -> Path:
    """The path with all links followed; a link that leads to itself stays."""
    return Path(os.path.realpath(path))


def _opener(path: str, flags: int) -> int:
    """Open without following a last link, which may have been put there since, and without waiting for a pipe's writer."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
