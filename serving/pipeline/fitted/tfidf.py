"""Words and pairs of words as TF-IDF, with a row of weights for each outcome: plain numbers."""

import math
from collections import Counter
from collections.abc import Mapping
from functools import cached_property
from itertools import pairwise

import numpy as np
from pydantic import model_validator

from serving.pipeline.fitted.coefficients import Coefficients
from serving.pipeline.fitted.logistic import Numbers
from serving.pipeline.text.stems import stemmed_words

MOST_CHARACTERS = 20_000  # of a text: what comes after them is not read


def terms_of(text: str, pairs: bool) -> list[str]:
    """The stems of a text, and its pairs of neighbours where they count."""
    stems = stemmed_words(text[:MOST_CHARACTERS])
    return [*stems, *(f"{one} {other}" for one, other in pairwise(stems))] if pairs else stems


class TfIdf(Coefficients):
    """A linear model over the terms of a text: (1 + log count) × rarity, at unit length."""

    pairs: bool
    terms: Mapping[str, tuple[float, ...]]  # of each: its rarity, then a weight for each outcome
    biases: tuple[float, ...]

    @model_validator(mode="after")
    def _fits(self) -> "TfIdf":
        if not self.biases or any(len(numbers) != 1 + len(self.biases) for numbers in self.terms.values()):
            raise ValueError("every term has its rarity and as many weights as there are biases")
        return self

    @cached_property
    def _rows(self) -> Numbers:
        return np.array(list(self.terms.values()), dtype=np.float64).reshape(-1, 1 + len(self.biases))

    @cached_property
    def _places(self) -> Mapping[str, int]:
        return {term: place for place, term in enumerate(self.terms)}

    def contributions(self, text: str) -> tuple[tuple[str, ...], Numbers]:
        """The known terms of a text, and what each adds to the score of each outcome."""
        counts = Counter(term for term in terms_of(text, self.pairs) if term in self._places)
        if not counts:
            return (), np.zeros((0, len(self.biases)))
        rows = self._rows[[self._places[term] for term in counts]]
        amounts = np.array([1.0 + math.log(count) for count in counts.values()]) * rows[:, 0]
        return tuple(counts), rows[:, 1:] * (amounts / np.linalg.norm(amounts))[:, None]

    def scores(self, text: str) -> Numbers:
        """A score for each outcome."""
        found: Numbers = self.contributions(text)[1].sum(axis=0) + np.array(self.biases)
        return found
