"""Cosine similarity of sentences, with a cache of vectors: a passage read for many questions is embedded once."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
Embed = Callable[[Sequence[str]], Vectors]
_CACHED_TEXTS: Final = 8192  # sentences; 12 MB


class SentenceSimilarity:
    """Cosines between a question and sentences; thread-safe."""

    def __init__(self, embed: Embed, cached_texts: int = _CACHED_TEXTS) -> None:
        self._embed = embed
        self._capacity = cached_texts
        self._cache: OrderedDict[str, Vectors] = OrderedDict()
        self._lock = threading.Lock()

    def cosines(self, question: str, sentences: Sequence[str]) -> list[float]:
        """The cosine of each sentence to a question, to three places, so that a machine's last bits never decide."""
        vectors = self._vectors([question, *sentences])
        return [round(float(cosine), 3) for cosine in vectors[1:] @ vectors[0]]

    def _vectors(self, texts: Sequence[str]) -> Vectors:
        with self._lock:
            vectors = {text: self._cache[text] for text in texts if text in self._cache}
        missing = [text for text in dict.fromkeys(texts) if text not in vectors]
        if missing:
            vectors |= dict(zip(missing, self._embed(missing), strict=True))
        with self._lock:
            for text in texts:
                self._cache[text] = vectors[text]
                self._cache.move_to_end(text)
            while len(self._cache) > self._capacity:
                self._cache.popitem(last=False)
        return np.stack([vectors[text] for text in texts])
