"""The vectors of the questions of one scope, for finding the nearest ones."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from serving.pipeline.index.base import Vectors

_FIRST: Final = 4  # rows; many scopes hold a question or two
_SKETCH: Final = 64  # numbers of a vector's sketch
_SKETCHED_FROM: Final = 4096  # rows; fewer are compared whole
_CANDIDATES: Final = 128  # by sketch, compared whole then
_BLOCK: Final = 65_536  # numbers multiplied at a time: few enough for one thread: a second is waited for on a busy machine


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A cached question, and its similarity."""

    name: str
    similarity: float


class VectorTable:
    """Rows of length 1 by name, in one matrix that grows by doubling.

    Of many rows the sketches are compared first: turned at random and cut to a few numbers, a sixth of the memory. A near question that its
    sketch hides is a hit lost and nothing worse.
    """

    def __init__(self, dimensions: int) -> None:
        self._rows = np.zeros((_FIRST, dimensions), dtype=np.float32)
        self._sketches = np.zeros((_FIRST, _SKETCH), dtype=np.float32)
        self._turn = _turn(dimensions)
        self._names: list[str | None] = [None] * _FIRST
        self._places: dict[str, int] = {}
        self._free = list(range(_FIRST - 1, -1, -1))
        self._end = 0  # behind the last row in use

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, name: str) -> bool:
        return name in self._places

    @property
    def dimensions(self) -> int:
        """Numbers of a vector."""
        return int(self._rows.shape[1])

    def add(self, name: str, vector: Vectors) -> None:
        """Keep a vector in place of an older one of that name."""
        self.add_all([name], vector[np.newaxis])

    def add_all(self, names: Sequence[str], vectors: Vectors) -> None:
        """Keep some vectors, each in place of an older one of its name."""
        places = [self._place(name) for name in names]
        sketches = vectors @ self._turn
        self._rows[places] = vectors
        self._sketches[places] = sketches / np.maximum(np.linalg.norm(sketches, axis=1, keepdims=True), 1e-9)

    def drop(self, name: str) -> None:
        """Forget a vector."""
        place = self._places.pop(name, None)
        if place is not None:
            self._names[place] = None
            self._rows[place] = self._sketches[place] = 0.0
            self._free.append(place)

    def nearest(self, vector: Vectors, count: int) -> list[Neighbour]:
        """The nearest rows, nearest first; of equally near ones, by name."""
        if not self._places or len(vector) != self.dimensions:
            return []
        places: NDArray[np.intp] = np.arange(self._end)
        if self._end > _SKETCHED_FROM:
            likely = _products(self._sketches[: self._end], vector @ self._turn)
            places = np.argpartition(likely, -_CANDIDATES)[-_CANDIDATES:]
            similarities = self._rows[places] @ vector
        else:
            similarities = _products(self._rows[: self._end], vector)
        best = np.argsort(-similarities)[: count + 8]
        found = [(float(similarities[row]), self._names[int(places[row])]) for row in best]
        named = [Neighbour(name, min(similarity, 1.0)) for similarity, name in found if name is not None]
        return sorted(named, key=lambda one: (-one.similarity, one.name))[:count]

    def _place(self, name: str) -> int:
        place = self._places.get(name)
        if place is None:
            if not self._free:
                self._grow()
            place = self._places[name] = self._free.pop()
            self._names[place] = name
            self._end = max(self._end, place + 1)
        return place

    def _grow(self) -> None:
        rows = len(self._rows)
        self._rows = np.concatenate([self._rows, np.zeros_like(self._rows)])
        self._sketches = np.concatenate([self._sketches, np.zeros_like(self._sketches)])
        self._names += [None] * rows
        self._free = list(range(2 * rows - 1, rows - 1, -1))


def _products(rows: Vectors, vector: Vectors) -> Vectors:
    step = max(1, _BLOCK // rows.shape[1])
    found = np.empty(len(rows), dtype=np.float32)
    for start in range(0, len(rows), step):
        np.dot(rows[start : start + step], vector, out=found[start : start + step])
    return found


@cache
def _turn(dimensions: int) -> Vectors:
    """The first columns of a rotation, the same in every process."""
    numbers = np.random.default_rng(7).standard_normal((dimensions, min(dimensions, _SKETCH)))
    turn = np.linalg.qr(numbers)[0].astype(np.float32)
    return np.pad(turn, ((0, 0), (0, _SKETCH - turn.shape[1])))
