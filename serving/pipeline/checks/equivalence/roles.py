"""Who does what to whom: words that trade places between two questions."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from serving.pipeline.checks.equivalence.tokens import Token
from serving.pipeline.checks.equivalence.words import FUNCTION_WORDS, words_of

_SKIPPED: Final = words_of("a an the my your our their his her its this that these those")
_EVEN: Final = words_of("and or vs versus , / & nor plus with")  # what stands on both sides of them is the same
_EVEN_TEXTS: Final = words_of(
    "compare compared comparing comparison difference differences differ different between versus vs distinguish similar"
)
_DIRECTED: Final = words_of("to from by than into over under before after of for")
_STRANDED: Final = words_of("to of for from by with under over on about at")


@dataclass(frozen=True, slots=True)
class WordPositions:
    """Where the words of a question stand."""

    before: dict[str, str]  # for every word with a meaning of its own that occurs once, the one before it
    last: str  # the last word
    numbers: tuple[str, ...]  # in their order, where the question has a direction
    even: bool  # it compares, so that the sides may be swapped


def places_of(tokens: Sequence[Token]) -> WordPositions:
    """The places of a question's words."""
    words = [token.text for token in tokens if token.text not in _SKIPPED and not (token.kind == "stop" and token.text != ",")]
    counts = Counter(words)
    before = {word: words[at - 1] if at else "" for at, word in enumerate(words) if counts[word] == 1 and word not in FUNCTION_WORDS}
    directed = not counts.keys().isdisjoint(_DIRECTED)
    return WordPositions(
        before=before,
        last=words[-1] if words else "",
        numbers=tuple(token.text for token in tokens if token.kind == "number") if directed else (),
        even=not counts.keys().isdisjoint(_EVEN_TEXTS),
    )


def traded(one: WordPositions, other: WordPositions, names: frozenset[str]) -> tuple[str, str] | None:
    """Two words that stand where the other one stands in the other question; `names` are the words of the names of both."""
    if one.even or other.even:
        return None
    return (
        _swapped(one.before, other.before)
        or _turned(one, other)
        or _turned(other, one)
        or _aimed(one, other, names)
        or _reordered(one, other)
    )


def _swapped(one: dict[str, str], other: dict[str, str]) -> tuple[str, str] | None:
    """Each stands where the other did: "from A to B", "from B to A"."""
    moved = {word: before for word, before in one.items() if word in other and other[word] != before}
    for word, before in moved.items():
        now = other[word]
        if before in _EVEN or now in _EVEN:
            continue
        for partner, partner_before in moved.items():
            if partner_before == now and other[partner] == before and partner not in (word, before, now):
                return word, partner
    return None


def _turned(one: WordPositions, other: WordPositions) -> tuple[str, str] | None:
    """What ended with a preposition has it before a word: "which team does A report to", "which team reports to A"."""
    if one.last not in _STRANDED or other.last == one.last:
        return None
    return next(((word, one.last) for word, before in other.before.items() if before == one.last and word in one.before), None)


def _aimed(one: WordPositions, other: WordPositions, names: frozenset[str]) -> tuple[str, str] | None:
    """Behind a word of direction stands another of the names: "A lends to B", "lent by B to A"."""
    for word, before in one.before.items():
        if before in _DIRECTED and word in names and word in other.before and other.before[word] != before:
            for partner, partner_before in other.before.items():
                if partner_before == before and partner in names and partner != word and one.before.get(partner, before) != before:
                    return word, partner
    return None


def _reordered(one: WordPositions, other: WordPositions) -> tuple[str, str] | None:
    """The same numbers in another order: "from 1 to 2", "from 2 to 1"."""
    if one.numbers == other.numbers or sorted(one.numbers) != sorted(other.numbers):
        return None
    return next((first, second) for first, second in zip(one.numbers, other.numbers, strict=True) if first != second)
