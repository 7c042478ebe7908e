"""The fitted model: two heads, each a logistic model of features and, with MiniLM, of the sentence's vector."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from serving.pipeline.index.base import Vectors

COEFFICIENTS: Final = Path(__file__).with_name("coefficients.json")  # made by bench/injection.py --fit
WORDS_ONLY: Final = "words"  # without vectors: the first look, and the only one for embedding models that it was not fitted with
_FLAT: Final = 40.0  # beyond it the probability is 0 or 1


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """A logistic model of named features and a vector; 0.5 is the threshold that it was fitted for."""

    names: tuple[str, ...]
    weights: NDArray[np.float64]
    bias: float
    vector: NDArray[np.float64] | None = None

    @classmethod
    def of(cls, fitted: Mapping[str, Any]) -> "Head":
        """The head as its file has it."""
        vector = np.array(fitted["vector"]) if "vector" in fitted else None
        return cls(tuple(fitted["weights"]), np.array(list(fitted["weights"].values())), fitted["bias"], vector)

    def logit(self, features: Mapping[str, float], vector: Vectors | None = None) -> float:
        """The log-odds that a sentence is an order."""
        total = self.bias + float(self.weights @ np.array([features[name] for name in self.names]))
        return total if self.vector is None or vector is None else total + float(self.vector @ vector)


@dataclass(frozen=True, slots=True, eq=False)
class OrderModel:
    """Both heads with vectors and without; `direct` reads questions, `planted` what stands among other sentences."""

    direct: Head
    planted: Head
    direct_words: Head
    planted_words: Head


def probability(logit: float) -> float:
    """The probability of log-odds."""
    return 1 / (1 + math.exp(-max(-_FLAT, min(_FLAT, logit))))


@cache
def _file() -> Mapping[str, Any]:
    data: Mapping[str, Any] = json.loads(COEFFICIENTS.read_text(encoding="utf-8"))
    return data


@cache
def model_for(embedder: str) -> OrderModel:
    """The model fitted with an embedding model, or the one of words only."""
    words = {name: Head.of(head) for name, head in _file()["models"][WORDS_ONLY].items()}
    fitted = {name: Head.of(head) for name, head in _file()["models"].get(embedder, {}).items()} or words
    return OrderModel(fitted["direct"], fitted["planted"], words["direct"], words["planted"])


def needs_vectors(embedder: str) -> bool:
    """Whether vectors of an embedding model take part."""
    return embedder != WORDS_ONLY and embedder in _file()["models"]
