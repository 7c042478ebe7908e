"""Artefacts: fitted coefficients, thresholds and policies of plug-ins, as JSON or safetensors files named by their digest."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from serving.pipeline.config import RagConfig
from serving.pipeline.digest import digest_bytes
from serving.pipeline.errors import DataError, IntegrityError, StoreError
from serving.storage.files import write_bytes

MOST_BYTES = 64 * 1024 * 1024
ENDINGS = (".json", ".safetensors")


class Artefacts(Protocol):
    """A source of artefacts."""

    @property
    def place(self) -> str: ...

    def read(self, digest: str) -> bytes:
        """The bytes with this digest; `DataError` if there is no such file, `IntegrityError` if its bytes have another digest."""
        ...


@dataclass(frozen=True, slots=True)
class FolderArtefacts:
    """The artefacts of a folder: `<digest>.json` or `<digest>.safetensors`."""

    folder: Path

    @property
    def place(self) -> str:
        """The folder."""
        return str(self.folder)

    def read(self, digest: str) -> bytes:
        """The file's bytes, which have the digest of its name."""
        for path in (self.folder / f"{digest}{ending}" for ending in ENDINGS):
            try:
                with path.open("rb") as file:
                    return _checked(file.read(MOST_BYTES + 1), digest, str(path))
            except FileNotFoundError:
                continue
            except OSError as error:
                raise StoreError(f"{path} cannot be read: {error.strerror or error}.") from error
        raise _missing(digest, self.place)


@dataclass(frozen=True, slots=True)
class BundledArtefacts:
    """The artefacts that a release carries, by file name."""

    files: Mapping[str, bytes]
    place: str = "the release"

    def read(self, digest: str) -> bytes:
        """The file's bytes, which have the digest of its name."""
        for name in (f"{digest}{ending}" for ending in ENDINGS):
            if name in self.files:
                return _checked(self.files[name], digest, f"{self.place}: {name}")
        raise _missing(digest, self.place)


def keep_artefact(folder: Path, value: Mapping[str, Any] | bytes) -> str:
    """Write JSON-like data, or the bytes of a safetensors file, and return the digest for the configuration."""
    data = value if isinstance(value, bytes) else json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False).encode()
    digest = digest_bytes(data)
    write_bytes(folder / f"{digest}{ending_of(_checked(data, digest, 'The artefact'))}", data)
    return digest


def collect_artefacts(config: RagConfig, source: Artefacts) -> dict[str, bytes]:
    """The artefacts that a configuration names, by file name, as a release carries them; the error for a missing one names its path."""
    files: dict[str, bytes] = {}
    for path, digest in config.artefacts().items():
        try:
            data = source.read(digest)
        except DataError as error:
            raise DataError(f"{path}: {error}") from None
        files[f"{digest}{ending_of(data)}"] = data
    return files


def ending_of(data: bytes) -> str:
    """The ending of an artefact's file by what is in it."""
    text = data
    ending = ".json"
    if data[:1] not in (b"{", b"["):  # a safetensors file begins with the length of its header, which is JSON
        length = int.from_bytes(data[:8], "little")
        text, ending = data[8 : 8 + length], ".safetensors"
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        raise DataError("An artefact is a JSON object or list, or a safetensors file; these bytes are neither.") from None
    return ending


def _checked(data: bytes, digest: str, name: str) -> bytes:
    if len(data) > MOST_BYTES:
        raise DataError(f"{name} has more than {MOST_BYTES} bytes, the most that an artefact may have.")
    if digest_bytes(data) != digest:
        raise IntegrityError(f"{name} hashes to {digest_bytes(data)}; it was altered or cut.")
    return data


def _missing(digest: str, place: str) -> DataError:
    return DataError(f"No artefact {digest!r} in {place}. Fit it again, or copy its file there.")
