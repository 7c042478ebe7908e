"""Writing files whole or not at all."""

import os
import tempfile
from pathlib import Path

from serving.pipeline.errors import StoreError


def write_bytes(path: Path, data: bytes, *, sync: bool = True) -> None:
    """Write a file through a temporary one beside it, so that a reader sees the old or the new, never a half.

    Without `sync` that holds after a kill, but not after a power cut: for what is written often and matters little.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                if sync:
                    os.fsync(file.fileno())
                os.fchmod(file.fileno(), 0o644)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise StoreError(f"{path} could not be written: {error.strerror or error}.") from error


def write_text(path: Path, text: str, *, sync: bool = True) -> None:
    """Write a text file whole or not at all, as UTF-8."""
    write_bytes(path, text.encode(), sync=sync)
