"""What a dearer tier is expected to gain over a cheaper one on a question: fitted models behind one method."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, model_validator

from serving.pipeline.fitted.coefficients import Coefficients
from serving.pipeline.fitted.logistic import Logistic, sigmoid
from serving.pipeline.fitted.neighbours import Neighbours
from serving.pipeline.fitted.tfidf import TfIdf
from serving.pipeline.index.base import Vectors
from serving.pipeline.route.signals import NAMES, SIGNALS_VERSION, row

CHEAP, DEAR = 0, 1  # the outcomes of a two-outcome model: how good the answer of each tier is
WORDS_NAMED = 3
LEAST_NAMED = 0.005  # of a contribution, for it to be named


@dataclass(frozen=True, slots=True)
class RoutedQuestion:
    """A question as the models read it."""

    text: str
    vector: Vectors | None  # None: the embedding model sees no meaning in it
    signals: Mapping[str, float]


class LogisticGain(Coefficients):
    """The chance that each tier is right, from the question's vector and its signals; the gain is their difference."""

    kind: Literal["logistic"] = "logistic"
    signals: tuple[str, ...] = NAMES
    signals_version: str = SIGNALS_VERSION
    right: Logistic
    usual: tuple[float, ...]  # the mean question: reasons tell what is unlike it

    @model_validator(mode="after")
    def _fits(self) -> "LogisticGain":
        if self.signals != NAMES or self.signals_version != SIGNALS_VERSION:
            raise ValueError("it was fitted to other signals than this version computes")
        if len(self.right.biases) != 2 or self.right.width <= len(NAMES) or len(self.usual) != self.right.width:
            raise ValueError("right has two rows, each over a vector and the signals, and usual one")
        return self

    @property
    def width(self) -> int:
        """How many numbers the question's vector has; 0: it reads none."""
        return self.right.width - len(NAMES)

    def gain(self, asked: RoutedQuestion) -> float:
        """The expected gain."""
        chances = self.right.chances(row(asked.vector, self.width, asked.signals))
        return float(chances[DEAR] - chances[CHEAP])

    def why(self, asked: RoutedQuestion) -> str:
        """What moved it most."""
        difference = self.right.matrix[DEAR] - self.right.matrix[CHEAP]
        values = (row(asked.vector, self.width, asked.signals) - np.array(self.usual)) * difference
        parts = {"its meaning": float(values[: self.width].sum())}
        parts |= {name.replace("_", " "): float(value) for name, value in zip(NAMES, values[self.width :], strict=True)}
        largest = sorted((name for name in parts if abs(parts[name]) >= LEAST_NAMED), key=lambda name: (-abs(round(parts[name], 4)), name))
        largest = largest[:WORDS_NAMED]
        return "a question like most" if not largest else "by " + ", ".join(f"{name} {parts[name]:+.2f}" for name in largest)


class TfIdfGain(Coefficients):
    """The same from the question's words."""

    kind: Literal["tfidf"] = "tfidf"
    right: TfIdf

    @model_validator(mode="after")
    def _fits(self) -> "TfIdfGain":
        if len(self.right.biases) != 2:
            raise ValueError("right has two outcomes")
        return self

    @property
    def width(self) -> int:
        """0: it reads no vector."""
        return 0

    def gain(self, asked: RoutedQuestion) -> float:
        """The expected gain."""
        chances = sigmoid(self.right.scores(asked.text))
        return float(chances[DEAR] - chances[CHEAP])

    def why(self, asked: RoutedQuestion) -> str:
        """The words that moved it most."""
        terms, amounts = self.right.contributions(asked.text)
        if not terms:
            return "none of its words is known"
        parts = dict(zip(terms, (amounts[:, DEAR] - amounts[:, CHEAP]).tolist(), strict=True))
        largest = sorted(parts, key=lambda term: (-abs(round(parts[term], 4)), term))[:WORDS_NAMED]
        return "by the words " + ", ".join(f"{term} {parts[term]:+.2f}" for term in largest)


class NeighboursGain(Coefficients):
    """What the dearer tier gained on similar questions."""

    kind: Literal["knn"] = "knn"
    gained: Neighbours

    @property
    def width(self) -> int:
        """How many numbers the question's vector has."""
        return self.gained.width

    def gain(self, asked: RoutedQuestion) -> float:
        """The expected gain; without a vector, the mean of all questions."""
        if asked.vector is None:
            return float(np.mean(self.gained.outcomes))
        return self.gained.mean(np.asarray(asked.vector, dtype=np.float64))

    def why(self, asked: RoutedQuestion) -> str:
        """How many were asked."""
        return f"so it was on the {self.gained.nearest} most similar of {len(self.gained.outcomes)} questions"


class StackedGain(Coefficients):
    """A weighted sum of what other models expect."""

    kind: Literal["stacked"] = "stacked"
    models: tuple[Annotated[LogisticGain | TfIdfGain | NeighboursGain, Field(discriminator="kind")], ...]
    weights: tuple[float, ...]
    bias: float

    @model_validator(mode="after")
    def _fits(self) -> "StackedGain":
        if len(self.models) != len(self.weights) or not self.models:
            raise ValueError("every model has a weight")
        if len({model.width for model in self.models if model.width}) > 1:
            raise ValueError("all its models read vectors of one length")
        return self

    @cached_property
    def width(self) -> int:
        """How many numbers the question's vector has; 0: none of its models reads one."""
        return max(model.width for model in self.models)

    def gain(self, asked: RoutedQuestion) -> float:
        """The expected gain."""
        gains = [model.gain(asked) for model in self.models]
        return self.bias + sum(weight * gain for weight, gain in zip(self.weights, gains, strict=True))

    def why(self, asked: RoutedQuestion) -> str:
        """What each model says."""
        return "by " + ", ".join(f"{model.kind} {model.gain(asked):+.2f}" for model in self.models)


GainModel = LogisticGain | TfIdfGain | NeighboursGain | StackedGain


class FittedGain(Coefficients):
    """One step between two tiers: its model and the embedding model that it was fitted to."""

    embedder: str = ""  # the name of the embedding model; empty: no vector is read
    model: Annotated[GainModel, Field(discriminator="kind")]

    def gain(self, asked: RoutedQuestion) -> float:
        """The expected gain, rounded: the same on every machine."""
        return round(min(max(self.model.gain(asked), -1.0), 1.0), 4)


def gains(model: GainModel, asked: Sequence[RoutedQuestion]) -> list[float]:
    """The expected gain of several questions, in their order."""
    return [model.gain(one) for one in asked]
