"""An embedding made by counting: deterministic, at once, from the text alone."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import ClassVar

import numpy as np
from langchain_core.embeddings import Embeddings
from numpy.typing import NDArray
from pydantic import Field

from serving.pipeline.registry import Params as PlugInParams
from serving.pipeline.settings import PipelineSettings
from serving.pipeline.text.words import WORD

NGRAM = 4  # characters
NGRAM_WEIGHT = 0.3  # a word has several n-grams: together they weigh about as much as the word


class Hashing:
    """The hashing embedder by name; texts that share words or parts of words lie near each other."""

    class Params(PlugInParams):
        """What changes its vectors."""

        dimensions: int = Field(default=256, ge=1, le=4096)

    version: ClassVar[str] = "1"
    price_model = "amazon.titan-embed-text-v2:0"
    simulated = True

    def __init__(self, params: Params, *, name: str = "local:hashing", settings: PipelineSettings) -> None:
        self.name = name
        self._params = params

    def connect(self) -> "HashingEmbeddings":
        """The embedder; there is nothing to load."""
        return HashingEmbeddings(self._params.dimensions)


class HashingEmbeddings(Embeddings):
    """Counts words, pairs of words and n-grams of characters in slots chosen by a hash; every vector has unit length."""

    def __init__(self, dimensions: int) -> None:
        self._dimensions = dimensions

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """The vectors, as LangChain wants them."""
        rows: list[list[float]] = self.vectors(texts).tolist()
        return rows

    def embed_query(self, text: str) -> list[float]:
        """One vector, as LangChain wants it."""
        return self.embed_documents([text])[0]

    def vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """The vectors as rows, in the order of the texts."""
        rows = np.zeros((len(texts), self._dimensions), np.float32)
        for row, text in zip(rows, texts, strict=True):
            row[:] = self._vector(text)
        return rows

    def count_tokens(self, text: str) -> int:
        """How many words the text has."""
        return sum(1 for _ in WORD.finditer(text))

    def _vector(self, text: str) -> NDArray[np.float64]:
        vector = np.zeros(self._dimensions)
        for (feature, weight), count in Counter(_features(text)).items():
            slot, sign = _place(feature, self._dimensions)
            vector[slot] += sign * weight * np.sqrt(count)
        length = float(np.linalg.norm(vector))
        if length == 0:  # no words, or they cancelled out: a fixed direction, since a zero vector finds nothing
            vector[0] = length = 1.0
        return vector / length


def _features(text: str) -> Iterator[tuple[str, float]]:
    """What is counted, with its weight."""
    words = WORD.findall(text.casefold())
    for word in words:
        yield f"word {word}", 1.0
        framed = f"^{word}$"
        for start in range(len(framed) - NGRAM + 1):
            yield f"part {framed[start : start + NGRAM]}", NGRAM_WEIGHT
    for first, second in pairwise(words):
        yield f"pair {first} {second}", 1.0


def _place(feature: str, dimensions: int) -> tuple[int, int]:
    """The slot a feature counts in, and whether it adds or takes away."""
    number = int.from_bytes(hashlib.blake2b(feature.encode(), digest_size=8).digest(), "big")
    return (number >> 1) % dimensions, 1 if number & 1 else -1
