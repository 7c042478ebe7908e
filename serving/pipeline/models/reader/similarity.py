"""Cosine similarity of sentences, with a cache of vectors: a passage read for many questions is embedded once."""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from serving.pipeline.models.vector_cache import VectorCache

Vectors = NDArray[np.float32]
Embed = Callable[[Sequence[str]], Vectors]
_CACHED_TEXTS: Final = 8192  # sentences; 12 MB


class SentenceSimilarity:
    """Cosines between a question and sentences; thread-safe."""

    def __init__(self, embed: Embed, cached_texts: int = _CACHED_TEXTS) -> None:
        self._embed = embed
        self._cache = VectorCache[Vectors](cached_texts)

    def cosines(self, question: str, sentences: Sequence[str]) -> list[float]:
        """The cosine of each sentence to a question, to three places, so that a machine's last bits never decide."""
        vectors = self._vectors([question, *sentences])
        return [round(float(cosine), 3) for cosine in vectors[1:] @ vectors[0]]

    def _vectors(self, texts: Sequence[str]) -> Vectors:
        vectors = {text: vector for text in texts if (vector := self._cache.get(text)) is not None}
        missing = [text for text in dict.fromkeys(texts) if text not in vectors]
        if missing:
            vectors |= dict(zip(missing, self._embed(missing), strict=True))
            for text in missing:
                self._cache.put(text, vectors[text])
        return np.stack([vectors[text] for text in texts])
