"""What the verifier sees of two questions: numbers that are the same whichever of them comes first."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from serving.pipeline.checks.equivalence.wording import LONGEST_BEGINNING, Wording

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
)


def features_of(one: Wording, other: Wording, similarity: float) -> NDArray[np.float64]:
    """The row of features of two questions."""
    common = one.content & other.content
    shares = sorted(len(common) / max(1, len(side.content)) for side in (one, other))
    left = [one.content - other.content, other.content - one.content]
    counts = sorted(map(len, left))
    letters = sum(map(len, one.content | other.content))
    lengths = sorted(len(side.said) for side in (one, other))
    stems = one.stems.keys() | other.stems.keys()
    row = (
        similarity,
        shares[0],
        shares[1],
        len(one.stems.keys() & other.stems.keys()) / max(1, len(stems)),
        counts[0],
        counts[1],
        sum(map(len, left[0] | left[1])) / max(1, letters),
        max(_unlike(left[0], other.beginnings), _unlike(left[1], one.beginnings)),
        len(one.pairs & other.pairs) / max(1, len(one.pairs | other.pairs)),
        2 * (one.trigrams & other.trigrams).total() / max(1, one.trigrams.total() + other.trigrams.total()),
        lengths[0] / max(1, lengths[1]),
        lengths[0],
        1.0 if one.asked == other.asked else 0.5 if not one.asked or not other.asked else 0.0,
        float(one.said[:1] == other.said[:1]),
        float(one.said[-1:] == other.said[-1:]),
        len(one.names.runs) + len(other.names.runs),
    )
    return np.array(row, dtype=np.float64)


def _unlike(words: frozenset[str], beginnings: frozenset[str]) -> float:
    """Of words, the largest share of one that no word of the other question begins with."""
    return max((1 - _begun(word, beginnings) / len(word) for word in words), default=0.0)


def _begun(word: str, beginnings: frozenset[str]) -> int:
    """How many letters the word and some word of the other question begin with in common."""
    return next((length for length in range(min(len(word), LONGEST_BEGINNING), 0, -1) if word[:length] in beginnings), 0)
