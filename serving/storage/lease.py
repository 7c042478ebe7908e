"""A lock made of one object with an owner and an expiry: renewed while held, taken over by compare-and-swap once expired."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol
from uuid import uuid4

from serving.pipeline.errors import InfrastructureError, LockedError, StoreError
from serving.storage.base import Blob

LEASE_S = 60.0  # after which what a killed holder left is taken over; machines' clocks must agree far better than that
POLL_S = 0.5


class LeaseObjects(Protocol):
    """What a lease needs of a storage."""

    place: str

    def get(self, key: str) -> Blob | None: ...

    def put_if(self, key: str, data: bytes, *, expected: str | None) -> str | None: ...


@dataclass(frozen=True, slots=True)
class LeaseClock:
    """How a lease knows the time, and how it passes."""

    lease_s: float = LEASE_S
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    sleep: Callable[[float], None] = time.sleep


@contextmanager
def lease(storage: LeaseObjects, key: str, *, wait: bool, clock: LeaseClock) -> Iterator[None]:
    """Hold a lease; `LockedError` without waiting while another holds it, and in the end if it was lost on the way."""
    held = _Lease(storage, key, clock)
    while not held.taken():
        if not wait:
            raise LockedError(f"{storage.place}/{key} is held by another process. Wait for it, or stop it first.")
        clock.sleep(POLL_S)
    stop = threading.Event()
    keeping = threading.Thread(target=held.keep, args=(stop,), name=f"lease {key}", daemon=True)
    keeping.start()
    try:
        yield
    finally:
        stop.set()
        keeping.join()
        whole = held.given_back()
    if not whole:
        raise LockedError(f"{storage.place}/{key} was lost to another process while it was held. Look at what both of them wrote.")


class _Lease:
    """One holder's lease."""

    def __init__(self, storage: LeaseObjects, key: str, clock: LeaseClock) -> None:
        self._storage = storage
        self._key = key
        self._clock = clock
        self._owner = uuid4().hex
        self._version: str | None = None

    def taken(self) -> bool:
        """Whether it is ours now: there was none, or the one there has ended."""
        there = self._storage.get(self._key)
        if there is not None and _ends(there, f"{self._storage.place}/{self._key}") > self._clock.now():
            return False
        self._version = self._storage.put_if(self._key, self._document(self._clock.lease_s), expected=there.version if there else None)
        return self._version is not None

    def keep(self, stop: threading.Event) -> None:
        """Renew it in time, until told to stop or lost."""
        while self._version is not None and not stop.wait(self._clock.lease_s / 3):
            try:
                self._version = self._storage.put_if(self._key, self._document(self._clock.lease_s), expected=self._version)
            except InfrastructureError:  # the next renewal may succeed; until the lease has ended nobody takes it
                continue

    def given_back(self) -> bool:
        """End it; whether it was ours to the end."""
        return self._version is not None and self._storage.put_if(self._key, self._document(0.0), expected=self._version) is not None

    def _document(self, seconds: float) -> bytes:
        ends = self._clock.now() + timedelta(seconds=seconds)
        return json.dumps({"owner": self._owner, "expires_at": ends.isoformat()}).encode()


def _ends(blob: Blob, where: str) -> datetime:
    try:
        return datetime.fromisoformat(json.loads(blob.data)["expires_at"]).astimezone(UTC)
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{where} is not a lock: {error}. Remove it when nobody holds it.") from None
