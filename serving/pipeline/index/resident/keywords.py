"""BM25 over lists of rows by word; what a word is worth in a row is worked out once."""

from array import array
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from serving.pipeline.index.resident.mapped import Array, MappedArrays
from serving.pipeline.index.resident.names import RowsByText, packed_texts
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
    numbers: dict[str, int] = {}
    words, rows, times, lengths = array("L"), array("L"), array("L"), array("L")  # by word and row; a length by row
    for row, text in enumerate(texts):
        counts = Counter(counted_words(text, stop_words))
        lengths.append(counts.total())
        words.extend(numbers.setdefault(word, len(numbers)) for word in counts)
        rows.extend([row] * len(counts))
        times.extend(counts.values())
    ranks = np.empty(len(numbers), np.intp)
    in_order = sorted(numbers)
    ranks[[numbers[word] for word in in_order]] = np.arange(len(numbers))
    word_ranks, all_rows = ranks[np.asarray(words, np.intp)], np.asarray(rows, np.intp)
    order = np.argsort(word_ranks, kind="stable")  # the rows of a word stay in order
    word_ranks, all_rows, counted = word_ranks[order], all_rows[order], np.asarray(times, np.float64)[order]
    rows_of_word = np.bincount(word_ranks, minlength=len(numbers))
    return packed_texts(NAME, in_order) | {
        f"{NAME}.rows": all_rows.astype(np.uint32),
        f"{NAME}.rows.ends": np.cumsum(rows_of_word, dtype=np.uint64),
        f"{NAME}.weights": _weights(counted, np.asarray(lengths, np.float64), all_rows, rows_of_word[word_ranks]),
    }


def _weights(times: Array, lengths: Array, rows: Array, rows_of_word: Array) -> Scores:
    """What each word is worth in each row that has it."""
    rarity = np.log(1 + (len(lengths) - rows_of_word + 0.5) / (rows_of_word + 0.5))
    penalty = K1 * (1 - B + B * lengths[rows] / max(float(lengths.mean()), 1e-9))
    return np.asarray(rarity * (K1 + 1) * times / (times + penalty), np.float32)
