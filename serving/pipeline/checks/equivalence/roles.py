"""Who does what to whom: two words that trade places between two questions."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from serving.pipeline.checks.equivalence.tokens import Token
from serving.pipeline.checks.equivalence.words import FUNCTION_WORDS, words_of

_SKIPPED: Final = words_of("a an the my your our their his her its this that these those")
_EVEN: Final = words_of("and or vs versus , / & nor plus with")  # what stands on both sides of them is the same
_EVEN_TEXTS: Final = words_of(
    "compare compared comparing comparison difference differences differ different between versus vs distinguish similar"
)


def places_of(tokens: Sequence[Token]) -> dict[str, str]:
    """For every word with a meaning of its own that occurs once, the one before it."""
    words = [token.text for token in tokens if token.text not in _SKIPPED and not (token.kind == "stop" and token.text != ",")]
    counts = Counter(words)
    if _EVEN_TEXTS & counts.keys():
        return {}
    return {word: words[index - 1] if index else "" for index, word in enumerate(words) if counts[word] == 1 and word not in FUNCTION_WORDS}


def traded(one: dict[str, str], other: dict[str, str]) -> tuple[str, str] | None:
    """Two words that stand where the other one stands in the other question."""
    moved = {word: before for word, before in one.items() if word in other and other[word] != before}
    for word, before in moved.items():
        now = other[word]
        if before in _EVEN or now in _EVEN:
            continue
        for partner, partner_before in moved.items():
            if partner_before == now and other[partner] == before and partner not in (word, before, now):
                return word, partner
    return None
