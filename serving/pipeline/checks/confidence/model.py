"""The probability that an answer is right: a logistic model of its signs with fitted coefficients."""

import math
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from serving.pipeline.checks.confidence.signs import SIGNS, SIMILARITY, VERSION
from serving.pipeline.digest import digest_of
from serving.pipeline.errors import DataError
from serving.pipeline.registry import explain

COEFFICIENTS: Final = Path(__file__).with_name("coefficients.json")  # made by bench/confidence.py --fit
WORDS_ONLY: Final = "words"  # the model without similarity, for embedding models that it was not fitted with
_FARTHEST: Final = 30.0  # log-odds beyond which nothing changes


class _Fitted(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ConfidenceModel(_Fitted):
    """The weight of each sign, and the value that stands in for one that is not known."""

    weights: dict[str, float]
    fill: dict[str, float]
    bias: float

    @field_validator("weights")
    @classmethod
    def _known(cls, weights: dict[str, float]) -> dict[str, float]:
        unknown = sorted(set(weights) - set(SIGNS))
        if unknown:
            raise ValueError(f"no sign {', '.join(map(repr, unknown))}; known: {', '.join(SIGNS)}")
        return weights

    @property
    def needs_similarity(self) -> bool:
        """Whether embeddings take part."""
        return SIMILARITY in self.weights

    def probability(self, signs: Mapping[str, float]) -> float:
        """How probably the answer is right."""
        score = self.bias + sum(weight * signs.get(name, self.fill.get(name, 0.0)) for name, weight in self.weights.items())
        return 1 / (1 + math.exp(-max(-_FARTHEST, min(_FARTHEST, score))))


class FittedConfidence(_Fitted):
    """The content of the shipped file and of an artefact: a model for each embedding model, and how they were fitted."""

    format: Literal["confidence/1"] = "confidence/1"
    signs: str = VERSION  # of the code that computes them
    models: dict[str, ConfidenceModel]
    right: str  # what counts as a right answer
    answers: int  # that it was fitted on
    cases: int
    data: str  # of which golden set and split
    date: str

    def model_for(self, embedder: str) -> ConfidenceModel:
        """The model fitted with an embedding model, or the one of words only."""
        return self.models.get(embedder) or self.models[WORDS_ONLY]


def parse_confidence(data: bytes, where: str) -> FittedConfidence:
    """Fitted coefficients from JSON, or a `DataError` that says what is wrong with them."""
    try:
        fitted = FittedConfidence.model_validate_json(data)
    except ValidationError as error:
        raise DataError(explain(error, where, list(FittedConfidence.model_fields))) from None
    if fitted.signs != VERSION or WORDS_ONLY not in fitted.models:
        raise DataError(f"{where} was fitted for another version of the signs. Fit it again: touchstone confidence")
    return fitted


@cache
def shipped() -> FittedConfidence:
    """The coefficients of the package."""
    return parse_confidence(COEFFICIENTS.read_bytes(), COEFFICIENTS.name)


def coefficients_digest() -> str:
    """Digest of the shipped coefficients and of the signs that they are of."""
    return digest_of([VERSION, shipped().model_dump(mode="json")])[:8]
