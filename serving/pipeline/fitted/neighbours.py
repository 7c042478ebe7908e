"""What came of similar questions: vectors of one byte a number, and what each question brought."""

from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator

from serving.pipeline.fitted.coefficients import Coefficients
from serving.pipeline.fitted.logistic import Numbers

STEPS = 127  # a number of a vector is a whole number of 1/127ths of the largest one


class Neighbours(Coefficients):
    """The mean outcome of the nearest questions, drawn towards the mean of all where they are few."""

    vectors: tuple[tuple[int, ...], ...]  # a row for each question, -127 to 127; only the direction counts
    outcomes: tuple[float, ...]
    nearest: int
    prior: float = 0.0  # as many questions of the overall mean are counted beside the nearest ones

    @model_validator(mode="after")
    def _fits(self) -> "Neighbours":
        if len(self.vectors) != len(self.outcomes) or not self.vectors or len({len(row) for row in self.vectors}) != 1:
            raise ValueError("vectors has a row for each outcome, all of one length")
        if not 1 <= self.nearest <= len(self.vectors):
            raise ValueError(f"nearest is from 1 to the {len(self.vectors)} questions")
        return self

    @property
    def width(self) -> int:
        """How many numbers a vector has."""
        return len(self.vectors[0])

    @cached_property
    def _unit(self) -> NDArray[np.float32]:
        rows = np.array(self.vectors, dtype=np.float32)
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        return np.asarray(rows / np.where(lengths == 0, 1, lengths), dtype=np.float32)

    @cached_property
    def _outcomes(self) -> Numbers:
        return np.array(self.outcomes, dtype=np.float64)

    def mean(self, vector: Numbers) -> float:
        """The mean outcome around a question."""
        outcomes = self._outcomes
        # rounded, so that the order of near ties is the same on every machine
        similarity = np.round(self._unit @ vector.astype(np.float32), 5)
        nearest = np.argpartition(-similarity, self.nearest - 1)[: self.nearest]
        return float((outcomes[nearest].sum() + self.prior * outcomes.mean()) / (self.nearest + self.prior))


def as_bytes(vectors: NDArray[np.float32]) -> tuple[tuple[int, ...], ...]:
    """Vectors as an artefact holds them."""
    largest = np.abs(vectors).max(axis=1, keepdims=True)
    rows = np.rint(vectors / np.where(largest == 0, 1, largest) * STEPS).astype(int)
    return tuple(tuple(row) for row in rows.tolist())
