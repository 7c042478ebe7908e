"""A bounded cache of vectors."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

V = TypeVar("V")


class VectorCache(Generic[V]):
    """The least recently used vectors by text or id, up to a capacity; thread-safe."""

    def __init__(self, capacity: int, *, size: Callable[[V], int] = lambda _: 1) -> None:
        self._capacity = capacity  # in the unit of `size`
        self._size_of = size
        self._size = 0
        self._vectors: OrderedDict[str, V] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._vectors)

    def get(self, key: str) -> V | None:
        """The vectors of a key, or None."""
        with self._lock:
            vectors = self._vectors.get(key)
            if vectors is not None:
                self._vectors.move_to_end(key)
            return vectors

    def put(self, key: str, vectors: V) -> None:
        """Add or replace vectors, and drop the least recently used ones beyond the capacity."""
        with self._lock:
            previous = self._vectors.pop(key, None)
            self._size += self._size_of(vectors) - (self._size_of(previous) if previous is not None else 0)
            self._vectors[key] = vectors
            while self._size > self._capacity:
                self._size -= self._size_of(self._vectors.popitem(last=False)[1])
