"""The runs of three words of a text as numbers, by which repeats are recognised."""

import hashlib
from functools import lru_cache
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from serving.pipeline.text.words import WORD
from serving.pipeline.types import Chunk

WIDTH = 3  # words in a shingle
TEXTS_IN_MEMORY = 8192  # the last ones asked for, some 1.5 KB each
_FACTOR = np.uint64(0x9E3779B97F4A7C15)  # odd: multiplying by it loses nothing

Shingles = NDArray[np.uint64]  # distinct, in order


@runtime_checkable
class KeepsShingles(Protocol):
    """A store that keeps the shingles of its chunks."""

    def shingles(self, chunk: Chunk) -> Shingles: ...


@lru_cache(maxsize=TEXTS_IN_MEMORY)
def shingles_of(text: str) -> Shingles:
    """The shingles of a text that may be asked for again."""
    return new_shingles(text)


def new_shingles(text: str) -> Shingles:
    """The shingles of a text; a text of fewer than three words is one shingle. The same on every machine."""
    words = WORD.findall(text.casefold())
    if not words:
        return np.empty(0, np.uint64)
    width = min(WIDTH, len(words))
    numbers = np.fromiter(map(_number, words), np.uint64, len(words))
    runs = np.full(len(words) - width + 1, width, np.uint64)
    for place in range(width):
        runs = runs * _FACTOR + numbers[place : len(runs) + place]
    return np.unique(runs)


@lru_cache(maxsize=50_000)
def _number(word: str) -> int:
    return int.from_bytes(hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")
