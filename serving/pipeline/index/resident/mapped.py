"""Named arrays in one file: written whole under a checksum, read through a memory map."""

import hashlib
import io
import json
import mmap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from serving.pipeline.errors import StoreError
from serving.storage.files import write_with

MAGIC = b"TSARRAYS"
START = len(MAGIC) + hashlib.sha256().digest_size  # of what the checksum covers
ALIGNMENT = 64  # bytes at which every array begins
BLOCK = 1 << 20  # bytes read at a time to be checked, so that checking a file does not make it resident

Array = NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class MappedArrays:
    """The arrays of a file, and what its writer said of them."""

    header: Mapping[str, Any]
    arrays: Mapping[str, Array]

    def __getitem__(self, name: str) -> Array:
        return self.arrays[name]


def write_arrays(path: Path, header: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
    """Write a file through a temporary one beside it, so that a reader sees all of it or nothing."""
    write_with(path, lambda file: _write(file, header, arrays))


def map_arrays(path: Path) -> MappedArrays | None:
    """The arrays of a file, or None where there is no file or its bytes are not those that were written."""
    try:
        with path.open("rb") as file:
            if not _whole(file):
                return None
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise StoreError(f"{path} could not be read: {error.strerror or error}.") from error
    return _arrays(mapped)


def arrays_as_bytes(header: Mapping[str, Any], arrays: Mapping[str, Array]) -> bytes:
    """The same as would be written to a file."""
    file = io.BytesIO()
    _write(file, header, arrays)
    return file.getvalue()


def arrays_of_bytes(data: bytes) -> MappedArrays | None:
    """The arrays of such bytes, or None where they are not those that were written."""
    return _arrays(data) if _whole(io.BytesIO(data)) else None


def _write(file: BinaryIO, header: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
    checksum = hashlib.sha256()
    file.write(MAGIC + bytes(checksum.digest_size))
    for block in _blocks(header, {name: np.ascontiguousarray(array) for name, array in arrays.items()}):
        checksum.update(block)
        file.write(block)
    file.seek(len(MAGIC))
    file.write(checksum.digest())


def _blocks(header: Mapping[str, Any], arrays: Mapping[str, Array]) -> Iterator[bytes | memoryview]:
    described: dict[str, Any] = {}
    offset = 0
    for name, array in arrays.items():
        described[name] = {"dtype": array.dtype.str, "shape": list(array.shape), "offset": offset}
        offset = _aligned(offset + array.nbytes)
    about = json.dumps({"header": dict(header), "arrays": described}).encode()
    yield len(about).to_bytes(8, "little") + about
    position = START + 8 + len(about)
    for array in arrays.values():
        yield bytes(_aligned(position) - position)
        yield array.reshape(-1).view(np.uint8).data
        position = _aligned(position) + array.nbytes


def _whole(file: BinaryIO) -> bool:
    if file.read(len(MAGIC)) != MAGIC:
        return False
    checksum = hashlib.sha256()
    expected = file.read(checksum.digest_size)
    while block := file.read(BLOCK):
        checksum.update(block)
    return checksum.digest() == expected


def _arrays(data: bytes | mmap.mmap) -> MappedArrays:
    size = int.from_bytes(data[START : START + 8], "little")
    described = json.loads(data[START + 8 : START + 8 + size])
    first = _aligned(START + 8 + size)
    return MappedArrays(described["header"], {name: _view(data, first, about) for name, about in described["arrays"].items()})


def _view(mapped: bytes | mmap.mmap, first: int, about: Mapping[str, Any]) -> Array:
    dtype, shape = np.dtype(about["dtype"]), tuple(about["shape"])
    return np.frombuffer(mapped, dtype, int(np.prod(shape, dtype=np.int64)), first + about["offset"]).reshape(shape)


def _aligned(position: int) -> int:
    return -(-position // ALIGNMENT) * ALIGNMENT
