"""Sentence vectors, remembered so that a passage read for many questions is embedded once."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
Embed = Callable[[Sequence[str]], Vectors]
_REMEMBERED: Final = 8192  # sentences; 12 MB


class Meaning:
    """Cosines between a question and sentences."""

    def __init__(self, embed: Embed, remember: int = _REMEMBERED) -> None:
        self._embed = embed
        self._remember = remember
        self._known: OrderedDict[str, Vectors] = OrderedDict()
        self._lock = threading.Lock()

    def closeness(self, question: str, sentences: Sequence[str]) -> list[float]:
        """The cosine of each sentence to a question, to three places, so that a machine's last bits never decide."""
        vectors = self._vectors([question, *sentences])
        return [round(float(cosine), 3) for cosine in vectors[1:] @ vectors[0]]

    def _vectors(self, texts: Sequence[str]) -> Vectors:
        with self._lock:
            known = {text: self._known[text] for text in texts if text in self._known}
        new = [text for text in dict.fromkeys(texts) if text not in known]
        if new:
            known |= dict(zip(new, self._embed(new), strict=True))
        with self._lock:
            for text in texts:
                self._known[text] = known[text]
                self._known.move_to_end(text)
            while len(self._known) > self._remember:
                self._known.popitem(last=False)
        return np.stack([known[text] for text in texts])
