"""Sentence embeddings for groundedness."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from langchain_core.embeddings import Embeddings

from serving.pipeline.index.base import Vectors
from serving.pipeline.index.embed import unit


class SentenceEmbedder(Protocol):
    """Embeds sentences; `model` names the embedding model, which selects the fitted coefficients."""

    @property
    def model(self) -> str: ...

    def vectors(self, texts: Sequence[str]) -> Vectors: ...


@dataclass(frozen=True, slots=True)
class NamedEmbeddings:
    """A connected embedding model and the name it was connected by, such as `local:minilm`."""

    model: str
    embeddings: Embeddings

    def vectors(self, texts: Sequence[str]) -> Vectors:
        """A unit vector for each text."""
        if not texts:
            return np.empty((0, 0), dtype=np.float32)
        return unit(self.embeddings.embed_documents(list(texts)), len(texts))
