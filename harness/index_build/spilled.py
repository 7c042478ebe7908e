"""The content digest of more rows than fit in memory: their digests lie on disk, sorted into files by their first byte."""

import hashlib
from collections import defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Self

from serving.pipeline.index.content import DIGEST_BYTES

SPILL_BYTES = 16_000_000  # in memory at a time


class SpilledDigest:
    """`ContentDigest` for digests that come in any order from anywhere; 32 bytes a row on disk, a 256th of that in memory in the end."""

    def __init__(self) -> None:
        self._folder = TemporaryDirectory(prefix="touchstone-digests-")
        self._pending: dict[int, bytearray] = defaultdict(bytearray)
        self._size = 0
        self.rows = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._folder.cleanup()

    def add(self, digests: bytes) -> None:
        """Take in the digests of some rows, joined."""
        for start in range(0, len(digests), DIGEST_BYTES):
            self._pending[digests[start]] += digests[start : start + DIGEST_BYTES]
        self._size += len(digests)
        self.rows += len(digests) // DIGEST_BYTES
        if self._size >= SPILL_BYTES:
            self._spill()

    def hexdigest(self) -> str:
        """The digest of all rows so far, as `ContentDigest` has it."""
        self._spill()
        total = hashlib.sha256()
        for first in range(256):
            path = self._path(first)
            data = path.read_bytes() if path.exists() else b""
            total.update(b"".join(sorted(data[start : start + DIGEST_BYTES] for start in range(0, len(data), DIGEST_BYTES))))
        return total.hexdigest()

    def _spill(self) -> None:
        for first, digests in self._pending.items():
            with self._path(first).open("ab") as file:
                file.write(digests)
        self._pending.clear()
        self._size = 0

    def _path(self, first: int) -> Path:
        return Path(self._folder.name) / f"{first:02x}"
