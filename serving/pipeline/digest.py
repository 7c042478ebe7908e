"""Content digests: the same value has the same digest on every machine."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

_PLAIN = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
LENGTH = 16  # hex digits kept: 64 bits, ample for the thousands of things one project names


def digest_of(value: Any) -> str:
    """Digest of a JSON-like value, independent of key order and white space."""
    return digest_text(_PLAIN.encode(value))


def digest_text(text: str) -> str:
    """Digest of a text."""
    return digest_bytes(text.encode())


def digest_bytes(data: bytes) -> str:
    """Digest of a file's bytes."""
    return hashlib.sha256(data).hexdigest()[:LENGTH]


def digest_all(digests: Iterable[str]) -> str:
    """Digest of a set of digests; their order does not matter."""
    return digest_text("\n".join(sorted(digests)))


def sha256_file(path: Path) -> str:
    """The whole SHA-256 of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
