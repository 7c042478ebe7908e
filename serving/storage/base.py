"""What a storage promises: bytes under keys, written whole, replaced by compare-and-swap where it matters who was first."""

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from serving.pipeline.errors import DataError

_ODD = re.compile(r"[\\\x00-\x1f\x7f\ud800-\udfff]")  # what separates names elsewhere, or cannot be shown or stored


@dataclass(frozen=True, slots=True)
class Blob:
    """What is kept under a key."""

    data: bytes
    version: str  # changes with the data; what `put_if` expects


@dataclass(frozen=True, slots=True)
class Entry:
    """A key with what is known of it without reading it."""

    key: str
    size: int
    modified: datetime


class Storage(Protocol):
    """Bytes by key in one place: `releases/0123/config.yaml`. Safe under several threads, processes and machines."""

    place: str

    def get(self, key: str) -> Blob | None:
        """What is kept, or `None`."""
        ...

    def put(self, key: str, data: bytes) -> None:
        """Keep bytes whole or not at all, in place of what was there."""
        ...

    def put_if(self, key: str, data: bytes, *, expected: str | None) -> str | None:
        """Keep bytes only where this version is (`None`: nothing is) and return the new version; `None` when another was faster."""
        ...

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """Every key that begins with a prefix, in order."""
        ...

    def delete(self, key: str) -> None:
        """Forget a key; one that is not there is no error."""
        ...

    def lock(self, key: str, *, wait: bool = True) -> AbstractContextManager[None]:
        """Hold a key against every other holder; without waiting, a `LockedError` while another holds it."""
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
