"""Logistic regression as plain numbers: a row of weights and a bias for each outcome."""

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator

from serving.pipeline.fitted.coefficients import Coefficients

Numbers = NDArray[np.float64]


class Logistic(Coefficients):
    """A linear score for each outcome; what the scores mean (one against all, or each for itself) is its user's to say."""

    weights: tuple[tuple[float, ...], ...]  # a row for each outcome
    biases: tuple[float, ...]

    @model_validator(mode="after")
    def _fits(self) -> "Logistic":
        if len(self.weights) != len(self.biases) or not self.weights or len({len(row) for row in self.weights}) != 1:
            raise ValueError("weights has as many rows as biases, all of one length")
        return self

    @property
    def width(self) -> int:
        """How many numbers it reads."""
        return len(self.weights[0])

    @cached_property
    def matrix(self) -> Numbers:
        """The weights."""
        return np.array(self.weights, dtype=np.float64)

    def scores(self, values: Numbers) -> Numbers:
        """A score for each outcome."""
        found: Numbers = self.matrix @ values + np.array(self.biases)
        return found

    def chances(self, values: Numbers) -> Numbers:
        """The probability of each outcome for itself."""
        return sigmoid(self.scores(values))


def sigmoid(scores: Numbers) -> Numbers:
    """Probabilities of scores, without overflow."""
    found: Numbers = 0.5 * (1.0 + np.tanh(0.5 * scores))
    return found


def softmax(scores: Numbers) -> Numbers:
    """Probabilities that add up to 1."""
    powers = np.exp(scores - scores.max())
    found: Numbers = powers / powers.sum()
    return found


def rounded(values: Sequence[float] | Numbers, digits: int = 5) -> tuple[float, ...]:
    """Numbers as an artefact holds them, rounded."""
    return tuple(round(float(value), digits) for value in values)
