"""Which domain a text is of: words and meaning together, as plain numbers."""

from dataclasses import dataclass

import numpy as np
from pydantic import model_validator

from serving.pipeline.fitted.coefficients import Coefficients
from serving.pipeline.fitted.logistic import Logistic, Numbers, softmax
from serving.pipeline.fitted.tfidf import TfIdf
from serving.pipeline.index.base import Vectors


@dataclass(frozen=True, slots=True)
class DomainGuess:
    """The likeliest domain and its probability."""

    domain: str
    confidence: float


class DomainModel(Coefficients):
    """A linear model over a text's words and its vector: a score for each domain, and the chance that goes with it."""

    embedder: str = ""  # the name of the embedding model; empty: words alone
    domains: tuple[str, ...]
    words: TfIdf
    meaning: Logistic | None = None

    @model_validator(mode="after")
    def _fits(self) -> "DomainModel":
        outcomes = {len(self.words.biases)} | ({len(self.meaning.biases)} if self.meaning else set())
        if outcomes != {len(self.domains)} or len(set(self.domains)) < 2:
            raise ValueError("words and meaning have an outcome for each domain, of which there are two at least")
        if bool(self.embedder) != (self.meaning is not None):
            raise ValueError("a model with a meaning names its embedder, and another one none")
        return self

    def chances(self, text: str, vector: Vectors | None) -> Numbers:
        """The probability of each domain."""
        scores = self.words.scores(text)
        if self.meaning is not None and vector is not None:
            scores = scores + self.meaning.scores(np.asarray(vector, dtype=np.float64))
        return softmax(scores)

    def guess(self, text: str, vector: Vectors | None) -> DomainGuess:
        """The likeliest domain; of equally likely ones the first."""
        chances = np.round(self.chances(text, vector), 4)  # the same on every machine
        best = int(chances.argmax())
        return DomainGuess(self.domains[best], float(chances[best]))
