"""BM25 over lists of rows by word; what a word is worth in a row is worked out once."""

import math
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Self

import numpy as np
from numpy.typing import NDArray

from serving.pipeline.index.resident.mapped import Array, MappedArrays
from serving.pipeline.index.resident.packed import Rows, RowsByText, packed_texts
from serving.pipeline.index.resident.words import StopWords, counted_words

K1, B = 1.2, 0.75  # LanceDB's
NAME = "words"
WORDS_IN_MEMORY = 4096  # the last ones looked up

Scores = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class WordCounts:
    """What BM25 needs to know of a set of rows."""

    rows: int
    mean_length: float  # of a row's text, in words
    rows_with: Mapping[str, int]  # by word


class KeywordScores:
    """Scores texts against every row at once."""

    def __init__(self, arrays: MappedArrays, rows: int, stop_words: StopWords) -> None:
        self._words = RowsByText(arrays, NAME)
        self._number = lru_cache(maxsize=WORDS_IN_MEMORY)(self._words.texts.find)
        self._all_rows, self._weights = arrays[f"{NAME}.rows"], arrays[f"{NAME}.weights"]
        self._mean_length = float(arrays[f"{NAME}.mean_length"][0])
        self._rows = rows
        self._stop_words = stop_words

    def counted(self, text: str) -> Counter[str]:
        """The words of a text, and how often each stands in it."""
        return Counter(counted_words(text, self._stop_words))

    def of(self, text: str, rarity: Mapping[str, float] | None = None) -> Scores | None:
        """The score of each row, 0 where it has none of the text's words; None where no row has any.

        `rarity` says how rare each word is where these rows are not all there are.
        """
        scores: Scores | None = None
        for word, times in self.counted(text).items():
            number = self._number(word)
            if number is None:
                continue
            if scores is None:
                scores = np.zeros(self._rows, np.float32)
            span = self._words.span(number)
            scale = 1.0 if rarity is None else rarity[word] / rarity_of(self._rows, span.stop - span.start)
            scores[self._all_rows[span]] += self._weights[span] * np.float32(times * scale)
        return scores

    def counts(self, words: Iterable[str], rows: Rows | None) -> WordCounts:
        """How many of these rows have each word."""
        mask = None
        if rows is not None:
            mask = np.zeros(self._rows, np.bool_)
            mask[rows] = True
        spans = {word: slice(0, 0) if (number := self._number(word)) is None else self._words.span(number) for word in words}
        rows_with = {
            word: span.stop - span.start if mask is None else int(mask[self._all_rows[span]].sum()) for word, span in spans.items()
        }
        return WordCounts(self._rows if rows is None else len(rows), self._mean_length, rows_with)


def rarity_of(rows: int, rows_with: int) -> float:
    """What a word is worth by how few of the rows have it."""
    return math.log(1 + (rows - rows_with + 0.5) / (rows_with + 0.5))


@dataclass(frozen=True, slots=True, eq=False)
class CountedTexts:
    """Every word of some texts, in order, with the rows that have it."""

    words: list[str]
    rows_of_word: Array
    rows: Array  # by word and row
    times: Array  # that the word stands in the row
    lengths: Array  # by row

    @classmethod
    def of(cls, texts: Sequence[str], stop_words: StopWords) -> Self:
        """Count the words of the text of each row."""
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
        rows_of_word = np.bincount(word_ranks, minlength=len(numbers))
        counted = np.asarray(times, np.float64)[order]
        return cls(in_order, rows_of_word, all_rows[order], counted, np.asarray(lengths, np.float64))

    def lists(self) -> dict[str, Array]:
        """The arrays of the lists of rows by word."""
        return packed_texts(NAME, self.words) | {
            f"{NAME}.rows": self.rows.astype(np.uint32),
            f"{NAME}.rows.ends": np.cumsum(self.rows_of_word, dtype=np.uint64),
        }


def packed_keywords(texts: Sequence[str], stop_words: StopWords) -> dict[str, Array]:
    """The arrays of `KeywordScores`, of the text of each row."""
    counted = CountedTexts.of(texts, stop_words)
    rows_of_word = np.repeat(counted.rows_of_word, counted.rows_of_word)
    return counted.lists() | {
        f"{NAME}.weights": _weights(counted.times, counted.lengths, counted.rows, rows_of_word),
        f"{NAME}.mean_length": np.array([counted.lengths.mean()], np.float64),
    }


def _weights(times: Array, lengths: Array, rows: Array, rows_of_word: Array) -> Scores:
    """What each word is worth in each row that has it."""
    rarity = np.log(1 + (len(lengths) - rows_of_word + 0.5) / (rows_of_word + 0.5))
    penalty = K1 * (1 - B + B * lengths[rows] / max(float(lengths.mean()), 1e-9))
    return np.asarray(rarity * (K1 + 1) * times / (times + penalty), np.float32)
