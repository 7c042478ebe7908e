"""The storage contract: bytes by key, atomic writes, and compare-and-swap where concurrent writers meet."""

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, runtime_checkable

from serving.pipeline.errors import DataError

_ODD = re.compile(r"[\\\x00-\x1f\x7f\ud800-\udfff]")  # what separates names elsewhere, or cannot be shown or stored


@dataclass(frozen=True, slots=True)
class Blob:
    """The bytes of a key and their version."""

    data: bytes
    version: str  # changes with the data; what `put_if` expects


@dataclass(frozen=True, slots=True)
class Entry:
    """A key with its size and time of change, as a listing gives them."""

    key: str
    size: int
    modified: datetime


class Storage(Protocol):
    """Bytes by key in one place: `releases/0123/config.yaml`. Safe under several threads, processes and machines."""

    place: str

    def get(self, key: str) -> Blob | None:
        """The blob of a key, or `None`."""
        ...

    def put(self, key: str, data: bytes) -> None:
        """Write bytes atomically, in place of what was there."""
        ...

    def put_if(self, key: str, data: bytes, *, expected: str | None) -> str | None:
        """Write bytes only over this version (`None`: no such key yet) and return the new version; `None` when another writer was first."""
        ...

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """Every key that begins with a prefix, in order."""
        ...

    def delete(self, key: str) -> None:
        """Remove a key; a missing key is no error."""
        ...

    def lock(self, key: str, *, wait: bool = True) -> AbstractContextManager[None]:
        """Hold a key against every other holder; without waiting, a `LockedError` while another holds it."""
        ...


@runtime_checkable
class Streams(Protocol):
    """A storage whose objects need not fit in memory."""

    def stream(self, key: str) -> Iterator[bytes]:
        """The bytes of a key piece by piece; none for a missing key."""
        ...


def checked_key(key: str) -> str:
    """The key, when it is names joined by single slashes; names do not begin with a dot, so none leads out and none is hidden."""
    if any(not name or name.startswith(".") for name in key.split("/")) or _ODD.search(key):
        raise DataError(f"{key!r} is not a key of a storage. Write names joined by '/', none of them empty or beginning with '.'.")
    return key


def checked_prefix(prefix: str) -> str:
    """The beginning of a key, when it may be one; it may end within a name, or be empty for every key."""
    if prefix:
        checked_key(prefix.removesuffix("/"))
    return prefix
