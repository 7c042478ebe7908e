"""What the verifier sees of two questions: numbers that are the same whichever of them comes first."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import log
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from serving.pipeline.checks.equivalence.asked import ASKED
from serving.pipeline.checks.equivalence.wording import Wording

FEATURES: Final = (
    "similarity",  # of the two vectors
    "shared_least",  # share of the words that the other question has too, of the question that has less of them
    "shared_most",  # of the other one
    "shared_all",  # of all words, function words included
    "left_least",  # words that only one of them has, of the one with fewer
    "left_most",
    "left_letters",  # letters of those words, as a share
    "unlike",  # how unlike the most unlike word is to any word of the other question
    "pairs",  # share of pairs of neighbours in common
    "trigrams",  # share of runs of three letters in common
    "length_ratio",
    "words",  # of the shorter one
    "asked_alike",  # 1: both ask for the same kind of answer; ½: one of them does not tell
    "begin_alike",
    "end_alike",
    "names",  # in both together
    "weight_least",  # shared_least with each word weighed by how rare it is in the questions that were fitted on
    "weight_most",
    "rarest_left",  # the rarity of the rarest word that only one of them has
    "order",  # share of the words with a meaning that both have in one order
    "left_function",  # function words that only one of them has
    "shared_function",  # share of function words in common
    "words_with_meaning",  # of the question that has fewer
    "asked_first",  # what kind of answer is asked for first, as a number; of both the smaller one
    "asked_second",  # and the greater one
)


@dataclass(frozen=True, slots=True)
class WordRarity:
    """How rare each word is: the logarithm of one over the share of questions that have it."""

    known: Mapping[str, float] = field(default_factory=dict)
    unknown: float = 1.0

    @classmethod
    def of(cls, questions: Iterable[Wording], *, least: int = 2, digits: int = 3) -> Self:
        """The rarity of words in questions; one in fewer than `least` of them is unknown."""
        counts: Counter[str] = Counter()
        total = 0
        for question in questions:
            counts.update(question.content)
            total += 1
        known = {word: round(log((total + 1) / (count + 0.5)), digits) for word, count in sorted(counts.items()) if count >= least}
        return cls(known, round(log((total + 1) / (least - 0.5)), digits)) if total else cls()

    def weight(self, words: Iterable[str]) -> float:
        """The sum over some words."""
        return sum(self.known.get(word, self.unknown) for word in words)

    def rarest(self, words: Iterable[str]) -> float:
        """The greatest of some words."""
        return max((self.known.get(word, self.unknown) for word in words), default=0.0)


_KINDS: Final = {kind: number for number, kind in enumerate(ASKED, start=1)}
_LONGEST_BEGINNING: Final = 12  # letters of a word
EVEN: Final = WordRarity()  # every word weighs the same


def features_of(one: Wording, other: Wording, similarity: float, rarity: WordRarity = EVEN) -> NDArray[np.float64]:
    """The row of features of two questions."""
    common = one.content & other.content
    shares = sorted(len(common) / max(1, len(side.content)) for side in (one, other))
    weight = rarity.weight(common)
    weights = sorted(weight / (rarity.weight(side.content) or 1.0) for side in (one, other))
    left = [one.content - other.content, other.content - one.content]
    counts = sorted(map(len, left))
    letters = sum(map(len, one.content | other.content))
    lengths = sorted(len(side.said) for side in (one, other))
    pairs = [set(pairwise(side.said)) for side in (one, other)]
    trigrams = [_trigrams(side.said) for side in (one, other)]
    stems = one.stems.keys() | other.stems.keys()
    row = (
        similarity,
        shares[0],
        shares[1],
        len(one.stems.keys() & other.stems.keys()) / max(1, len(stems)),
        counts[0],
        counts[1],
        sum(map(len, left[0] | left[1])) / max(1, letters),
        max(_unlike(left[0], _beginnings(other.content)), _unlike(left[1], _beginnings(one.content))),
        len(pairs[0] & pairs[1]) / max(1, len(pairs[0] | pairs[1])),
        2 * (trigrams[0] & trigrams[1]).total() / max(1, trigrams[0].total() + trigrams[1].total()),
        lengths[0] / max(1, lengths[1]),
        lengths[0],
        1.0 if one.asked == other.asked else 0.5 if not one.asked or not other.asked else 0.0,
        float(one.said[:1] == other.said[:1]),
        float(one.said[-1:] == other.said[-1:]),
        len(one.names.runs) + len(other.names.runs),
        weights[0],
        weights[1],
        rarity.rarest(left[0] | left[1]),
        _in_order(one.meaning, other.meaning),
        len(one.function ^ other.function),
        len(one.function & other.function) / max(1, len(one.function | other.function)),
        min(len(one.content), len(other.content)),
        *sorted(_KINDS.get(side.asked[0], 0) if side.asked else 0 for side in (one, other)),
    )
    return np.array(row, dtype=np.float64)


def _in_order(one: Sequence[str], other: Sequence[str]) -> float:
    """Twice the words that both have in one order over the words of both; words that stand twice in one of them are left out."""
    once = {word for word, count in (Counter(one) | Counter(other)).items() if count == 1}
    places = {word: place for place, word in enumerate(other) if word in once}
    ends: list[int] = []  # of the shortest rising runs of each length
    for place in (places[word] for word in one if word in places):
        at = bisect_left(ends, place)
        ends[at : at + 1] = [place]
    return 2 * len(ends) / max(1, len(one) + len(other))


def _trigrams(said: Iterable[str]) -> Counter[str]:
    line = f" {' '.join(said)} "
    return Counter(line[index : index + 3] for index in range(len(line) - 2))


def _beginnings(words: frozenset[str]) -> set[str]:
    """Everything that a word begins with."""
    return {word[:length] for word in words for length in range(1, min(len(word), _LONGEST_BEGINNING) + 1)}


def _unlike(words: frozenset[str], beginnings: set[str]) -> float:
    """Of words, the largest share of one that no word of the other question begins with."""
    return max((1 - _begun(word, beginnings) / len(word) for word in words), default=0.0)


def _begun(word: str, beginnings: set[str]) -> int:
    """How many letters the word and some word of the other question begin with in common."""
    return next((length for length in range(min(len(word), _LONGEST_BEGINNING), 0, -1) if word[:length] in beginnings), 0)
