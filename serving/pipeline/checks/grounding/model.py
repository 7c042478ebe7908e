"""From evidence to a probability: a logistic model of six features, its numbers kept as data."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from serving.pipeline.checks.grounding.evidence import Lexical
from serving.pipeline.digest import digest_of

COEFFICIENTS: Final = Path(__file__).with_name("coefficients.json")  # made by bench/groundedness.py --fit
CODE: Final = "1"  # raise it whenever claims, terms or evidence are read in another way
WORDS_ONLY: Final = "words"  # the model without similarity: for embedding models that it was not fitted with
_CLOSE: Final = 0.6  # share of a claim in one sentence from which that sentence can deny it
_QUOTE: Final = 0.75  # … from which the claim is nearly a quote, so that another number in it is an error


@dataclass(frozen=True, slots=True)
class Model:
    """The weight of each feature, and the probability from which a claim counts as grounded."""

    weights: Mapping[str, float]
    bias: float
    threshold: float

    @property
    def needs_similarity(self) -> bool:
        """Whether embeddings take part."""
        return "similarity" in self.weights

    def probability(self, claim_features: Mapping[str, float]) -> float:
        """How probably the passages support the claim."""
        score = self.bias + sum(weight * claim_features[name] for name, weight in self.weights.items())
        return 1 / (1 + math.exp(-max(-40.0, min(40.0, score))))


def claim_features(lexical: Lexical, similarity: float) -> dict[str, float]:
    """What the model weighs; counts grow by their logarithm, so that the first one matters most."""
    return {
        "coverage": lexical.window,
        "missing_numbers": math.log1p(len(lexical.numbers)),
        "missing_names": math.log1p(len(lexical.names)),
        "wrong_number": float(bool(lexical.astray or lexical.numbers) and lexical.best >= _QUOTE),
        "denied": float(bool(lexical.denied) and lexical.best >= _CLOSE),
        "similarity": similarity,
    }


@cache
def _read() -> Mapping[str, Model]:
    data = json.loads(COEFFICIENTS.read_text(encoding="utf-8"))
    return {name: Model(one["weights"], one["bias"], one["threshold"]) for name, one in data["models"].items()}


def fitted(embedder: str) -> Model:
    """The model fitted with an embedding model, or the one of words only."""
    return _read().get(embedder) or _read()[WORDS_ONLY]


def digest() -> str:
    """Digest of every number of every model, and of the code that feeds them."""
    return digest_of([CODE, {name: [dict(one.weights), one.bias, one.threshold] for name, one in _read().items()}])[:8]
