"""The probability of support: a logistic model of six features with fitted coefficients."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from serving.pipeline.checks.grounding.evidence import LexicalEvidence
from serving.pipeline.digest import digest_of

COEFFICIENTS: Final = Path(__file__).with_name("coefficients.json")  # made by bench/groundedness.py --fit
CODE: Final = "1"  # raise it when the parsing of claims, terms or evidence changes
WORDS_ONLY: Final = "words"  # the model without similarity: for embedding models that it was not fitted with
_CONTRADICTION_COVERAGE: Final = 0.6  # coverage by one sentence from which it can contradict the claim
_QUOTE_COVERAGE: Final = 0.75  # coverage from which the claim is nearly a quote, so that another number is an error


@dataclass(frozen=True, slots=True)
class SupportModel:
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


def claim_features(lexical: LexicalEvidence, similarity: float) -> dict[str, float]:
    """The features of the model; counts are logarithmic, so that the first one matters most."""
    return {
        "coverage": lexical.window,
        "missing_numbers": math.log1p(len(lexical.numbers)),
        "missing_names": math.log1p(len(lexical.names)),
        "wrong_number": float(bool(lexical.misplaced or lexical.numbers) and lexical.best >= _QUOTE_COVERAGE),
        "denied": float(bool(lexical.denied) and lexical.best >= _CONTRADICTION_COVERAGE),
        "similarity": similarity,
    }


@cache
def _models() -> Mapping[str, SupportModel]:
    data = json.loads(COEFFICIENTS.read_text(encoding="utf-8"))
    return {name: SupportModel(fitted["weights"], fitted["bias"], fitted["threshold"]) for name, fitted in data["models"].items()}


def model_for(embedder: str) -> SupportModel:
    """The model fitted with an embedding model, or the one of words only."""
    return _models().get(embedder) or _models()[WORDS_ONLY]


def models_digest() -> str:
    """Digest of every number of every model, and of the code that feeds them."""
    return digest_of([CODE, {name: [dict(model.weights), model.bias, model.threshold] for name, model in _models().items()}])[:8]
