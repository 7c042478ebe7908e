"""Storage in a folder of this machine: a file per key."""

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from serving.pipeline.errors import LockedError, StoreError
from serving.storage.base import Blob, Entry, checked_key, checked_prefix
from serving.storage.files import write_bytes
from serving.storage.lock import file_lock

TRIES = 100


class FolderStorage:
    """Files below a folder; writers take turns by a lock on the folder itself. Names that begin with a dot are not part of it."""

    def __init__(self, folder: Path) -> None:
        self.place = str(folder)
        self._folder = folder

    def get(self, key: str) -> Blob | None:
        """The blob of a key, or `None`."""
        path = self._path(key)
        try:
            data = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise StoreError(f"{path}: cannot be read: {error}") from error
        return Blob(data, _version(data))

    def put(self, key: str, data: bytes) -> None:
        """Write bytes atomically."""
        path = self._path(key)
        with self._writing():
            write_bytes(path, data)

    def put_if(self, key: str, data: bytes, *, expected: str | None) -> str | None:
        """Write bytes only over the expected version."""
        path = self._path(key)
        with self._writing():
            current = self.get(key)
            if (current.version if current else None) != expected:
                return None
            write_bytes(path, data)
        return _version(data)

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """Every key that begins with a prefix, in order."""
        start = self._folder / checked_prefix(prefix).rpartition("/")[0]
        try:
            inside = start.is_dir() and start.resolve().is_relative_to(self._folder.resolve())
            files = [path for path in start.rglob("*") if path.is_file()] if inside else []
            keys = sorted((path.relative_to(self._folder).as_posix(), path) for path in files)
            for key, path in keys:
                if key.startswith(prefix) and not any(name.startswith(".") for name in key.split("/")):
                    with suppress(FileNotFoundError):  # deleted since
                        stat = path.stat()
                        yield Entry(key, stat.st_size, datetime.fromtimestamp(stat.st_mtime, UTC))
        except OSError as error:
            raise StoreError(f"{start}: cannot be read: {error}") from error

    def delete(self, key: str) -> None:
        """Remove a key, and the folders that this leaves empty."""
        path = self._path(key)
        if not self._folder.is_dir():
            return
        with self._writing():
            try:
                path.unlink(missing_ok=True)
            except (NotADirectoryError, IsADirectoryError):
                return
            except OSError as error:
                raise StoreError(f"{path} could not be removed: {error.strerror or error}.") from error
            with suppress(OSError):  # not empty
                for folder in path.parents:
                    if folder == self._folder:
                        break
                    folder.rmdir()

    @contextmanager
    def lock(self, key: str, *, wait: bool = True) -> Iterator[None]:
        """Hold a key against every other holder on this machine."""
        path = self._path(key)
        path = path.with_name(f".{path.name}.lock")
        with ExitStack() as stack:
            try:
                stack.enter_context(_held(path, wait))
            except BlockingIOError:
                raise LockedError(f"{self.place}/{key} is held by another process. Wait for it, or stop it first.") from None
            except OSError as error:
                raise StoreError(f"{path} cannot be written: {error.strerror or error}.") from error
            yield

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with ExitStack() as stack:
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
                stack.enter_context(file_lock(self._folder, create=False))
            except OSError as error:
                raise StoreError(f"{self.place} cannot be written: {error.strerror or error}.") from error
            yield

    def _path(self, key: str) -> Path:
        path = self._folder / checked_key(key)
        try:
            if path.resolve().is_relative_to(self._folder.resolve()):
                return path
        except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle
            raise StoreError(f"{path}: cannot be read: {error}") from error
        raise StoreError(f"{path} is a link that leads out of {self._folder}. Put what it leads to in its place.")


@contextmanager
def _held(path: Path, wait: bool) -> Iterator[None]:
    """Hold a lock's file, made with its folder, which another may remove between the two because it is empty."""
    for last in [*[False] * TRIES, True]:
        with ExitStack() as stack:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                stack.enter_context(file_lock(path, wait=wait))
            except (FileNotFoundError, FileExistsError):  # the folder went between two steps of making it
                if last:
                    raise
                continue
            yield
            return


def _version(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
