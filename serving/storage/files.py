"""Atomic file writes."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from serving.pipeline.errors import StoreError


def write_bytes(path: Path, data: bytes, *, sync: bool = True) -> None:
    """Write a file whole; without `sync` that holds after a kill, but not after a power cut: for frequent writes of little value."""
    write_with(path, lambda file: file.write(data), sync=sync)


def write_with(path: Path, fill: Callable[[BinaryIO], object], *, sync: bool = True) -> None:
    """Fill a temporary file beside the target and rename it, so that a reader sees the old or the new content, never a part of it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{uuid4().hex[:12]}")
        try:
            with open(draft, "xb") as file:  # noqa: PTH123 — made with the mode that the umask allows
                fill(file)
                file.flush()
                if sync:
                    os.fsync(file.fileno())
            draft.replace(path)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise StoreError(f"{path} could not be written: {error.strerror or error}.") from error


def write_text(path: Path, text: str, *, sync: bool = True) -> None:
    """Write a text file atomically, as UTF-8."""
    write_bytes(path, text.encode(), sync=sync)
