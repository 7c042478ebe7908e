"""BM25 over lists of rows by word; what a word is worth in a row is worked out once."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from serving.pipeline.index.resident.mapped import Array, MappedArrays
from serving.pipeline.index.resident.names import RowsByText, packed_rows
from serving.pipeline.index.resident.words import StopWords, counted_words

K1, B = 1.2, 0.75  # LanceDB's
NAME = "words"

Scores = NDArray[np.float32]


class KeywordScores:
    """Scores texts against every row at once."""

    def __init__(self, arrays: MappedArrays, rows: int, stop_words: StopWords) -> None:
        self._words = RowsByText(arrays, NAME)
        self._all_rows, self._weights = arrays[f"{NAME}.rows"], arrays[f"{NAME}.weights"]
        self._rows = rows
        self._stop_words = stop_words

    def of(self, text: str) -> Scores | None:
        """The score of each row, 0 where it has none of the text's words; None where no row has any."""
        scores: Scores | None = None
        for word, times in Counter(counted_words(text, self._stop_words)).items():
            number = self._words.texts.find(word)
            if number is None:
                continue
            if scores is None:
                scores = np.zeros(self._rows, np.float32)
            span = self._words.span(number)
            scores[self._all_rows[span]] += self._weights[span] * np.float32(times)
        return scores


def packed_keywords(texts: Sequence[str], stop_words: StopWords) -> dict[str, Array]:
    """The arrays of `KeywordScores`, of the text of each row."""
    counts = [Counter(counted_words(text, stop_words)) for text in texts]
    lengths = np.array([count.total() for count in counts], np.float64)
    penalties = K1 * (1 - B + B * lengths / max(float(lengths.mean()), 1e-9))
    rows_by_word: dict[str, list[int]] = {}
    for row, count in enumerate(counts):
        for word in count:
            rows_by_word.setdefault(word, []).append(row)
    weights = [_weights(word, rows_by_word[word], counts, penalties) for word in sorted(rows_by_word)]
    return packed_rows(NAME, rows_by_word) | {f"{NAME}.weights": np.concatenate([np.empty(0, np.float32), *weights])}


def _weights(word: str, rows: Sequence[int], counts: Sequence[Mapping[str, int]], penalties: NDArray[np.float64]) -> Scores:
    rarity = math.log(1 + (len(counts) - len(rows) + 0.5) / (len(rows) + 0.5))
    times = np.array([counts[row][word] for row in rows], np.float64)
    return np.asarray(rarity * (K1 + 1) * times / (times + penalties[rows]), np.float32)
