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

LEASE_S = 60.0  # a lease of a killed holder is taken over after this; clocks of machines must agree far better
POLL_S = 0.5


class LeaseObjects(Protocol):
    """What a lease needs of a storage."""

    place: str

    def get(self, key: str) -> Blob | None: ...

    def put_if(self, key: str, data: bytes, *, expected: str | None) -> str | None: ...


@dataclass(frozen=True, slots=True)
class LeaseClock:
    """The lease duration, and the clock and sleep function that leases use."""

    lease_s: float = LEASE_S
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    sleep: Callable[[float], None] = time.sleep


@contextmanager
def lease(storage: LeaseObjects, key: str, *, wait: bool, clock: LeaseClock) -> Iterator[None]:
    """Hold a lease; `LockedError` without waiting while another holds it, and at the end if it was lost in between."""
    holder = _Lease(storage, key, clock)
    while not holder.acquire():
        if not wait:
            raise LockedError(f"{storage.place}/{key} is held by another process. Wait for it, or stop it first.")
        clock.sleep(POLL_S)
    stop = threading.Event()
    renewal = threading.Thread(target=holder.renew, args=(stop,), name=f"lease {key}", daemon=True)
    renewal.start()
    try:
        yield
    finally:
        stop.set()
        renewal.join()
        unbroken = holder.release()
    if not unbroken:
        raise LockedError(f"{storage.place}/{key} was lost to another process while it was held. Look at what both of them wrote.")


class _Lease:
    """One holder's lease."""

    def __init__(self, storage: LeaseObjects, key: str, clock: LeaseClock) -> None:
        self._storage = storage
        self._key = key
        self._clock = clock
        self._owner = uuid4().hex
        self._version: str | None = None

    def acquire(self) -> bool:
        """Take the lease if there is none or it has expired; returns whether it was taken."""
        current = self._storage.get(self._key)
        if current is not None and _ends(current, f"{self._storage.place}/{self._key}") > self._clock.now():
            return False
        self._version = self._storage.put_if(self._key, self._document(self._clock.lease_s), expected=current.version if current else None)
        return self._version is not None

    def renew(self, stop: threading.Event) -> None:
        """Renew the lease before it expires, until stopped or until another holder took it."""
        while self._version is not None and not stop.wait(self._clock.lease_s / 3):
            try:
                self._version = self._storage.put_if(self._key, self._document(self._clock.lease_s), expected=self._version)
            except InfrastructureError:  # the next renewal may succeed; nobody takes the lease before it expires
                continue

    def release(self) -> bool:
        """End the lease; returns whether it was held without a break."""
        return self._version is not None and self._storage.put_if(self._key, self._document(0.0), expected=self._version) is not None

    def _document(self, seconds: float) -> bytes:
        ends = self._clock.now() + timedelta(seconds=seconds)
        return json.dumps({"owner": self._owner, "expires_at": ends.isoformat()}).encode()


def _ends(blob: Blob, where: str) -> datetime:
    try:
        return datetime.fromisoformat(json.loads(blob.data)["expires_at"]).astimezone(UTC)
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{where} is not a lock: {error}. Remove it when nobody holds it.") from None
