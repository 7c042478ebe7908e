"""Mends the spelling of a question's words by those of the passages and of questions themselves."""

import re
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from functools import cache
from pathlib import Path
from typing import Final

from serving.pipeline.models.reader.thesaurus import synonyms
from serving.pipeline.text.stems import stem
from serving.pipeline.text.stopwords import READER_STOP_WORDS, STOP_WORDS

_ENGLISH: Final = Path(__file__).with_name("english_words.txt")  # the common whole words of BERT's uncased vocabulary (Apache-2.0)
_WORD: Final = re.compile(r"(?<![\w-])[a-z]{4,24}(?![\w-])")  # no names, codes or compounds
_SHORTEST: Final = 4
_LONG: Final = 8  # letters from which two slips are likelier than another word
_ENDINGS: Final = ("s", "es", "d", "ed", "ing", "r", "er", "ers")
_VARIANTS: Final = (("or", "our"), ("er", "re"), ("iz", "is"), ("yz", "ys"), ("ense", "ence"), ("og", "ogue"), ("ll", "l"))
_OF_QUESTIONS: Final = frozenset(
    """
    which what when where whose there their many much long often cost price total difference between more less than each does should
    could would must need needed required allowed maximum minimum latest currently
    three four five seven eight nine hundred thousand
    """.split()  # noqa: SIM905  a list of quoted words is hard to read
)


def corrected(question: str, known: AbstractSet[str]) -> str:
    """The question with each small word that neither the passages nor English know changed to the one that it nearly is."""
    known_stems: set[str] = set()

    def mend(match: re.Match[str]) -> str:
        word = match[0]
        if word in known or word in STOP_WORDS or word in READER_STOP_WORDS or word in _OF_QUESTIONS:
            return word
        if not known_stems:
            known_stems.update(map(stem, known))
        if stem(word) in known_stems or synonyms(stem(word)):
            return word
        if variant := _variant(word, known):
            return variant
        return word if _is_english(word) else _nearest(word, _OF_QUESTIONS) or _nearest(word, known) or word

    return _WORD.sub(mend, question)


def is_near(word: str, other: str, most: int = 2) -> bool:
    """Whether two words differ by one slip of the pen, or by two where they are long and `most` allows; the first letter is right."""
    return 0 < _slips(word, other) <= min(_allowed(word), most)


def _is_english(word: str) -> bool:
    """Whether a word is a common one, or such a one with an ending."""
    words = _english()
    bases = [word.removesuffix(ending) for ending in _ENDINGS if word.endswith(ending)]
    return word in words or any(len(base) >= _SHORTEST and (base in words or f"{base}e" in words) for base in bases)


@cache
def _english() -> frozenset[str]:
    return frozenset(_ENGLISH.read_text(encoding="ascii").split())


def _variant(word: str, known: AbstractSet[str]) -> str:
    """The word as the other side of the Atlantic spells it, where the passages do."""
    pairs = [*_VARIANTS, *((second, first) for first, second in _VARIANTS)]
    spellings = (word[:place] + second + word[place + len(first) :] for first, second in pairs if (place := word.rfind(first)) > 0)
    return next((spelling for spelling in spellings if spelling in known), "")


def _nearest(word: str, known: Iterable[str]) -> str:
    """The nearest of the known words, the first in the alphabet of several; empty where none is near."""
    near = [
        (slips, other)
        for other in known
        if len(other) > _SHORTEST
        and other not in STOP_WORDS - _OF_QUESTIONS
        and 0 < (slips := _slips_of_words(word, other)) <= _allowed(word)
    ]
    return min(near)[1] if near else ""


def _allowed(word: str) -> int:
    return 2 if len(word) >= _LONG else 1 if len(word) >= _SHORTEST else 0


def _slips_of_words(word: str, other: str) -> int:
    """The slips between two words or between their stems; a word of four letters may only lack one."""
    if len(word) == _SHORTEST:
        return _slips(word, other) if len(other) > len(word) else _MANY
    return min(_slips(word, other), _slips(stem(word), stem(other)) or _MANY)


_MANY: Final = 9  # slips: clearly more than two


def _slips(first: str, second: str) -> int:
    """Letters left out, added, changed or swapped with the next."""
    if first[:1] != second[:1] or abs(len(first) - len(second)) > 2:
        return _MANY
    before: list[int] = []
    row = list(range(len(second) + 1))
    for place, letter in enumerate(first, start=1):
        older, before, row = before, row, [place]
        for column, other in enumerate(second, start=1):
            cost = min(before[column] + 1, row[column - 1] + 1, before[column - 1] + (letter != other))
            if place > 1 and column > 1 and letter == second[column - 2] and first[place - 2] == other:
                cost = min(cost, older[column - 2] + 1)
            row.append(cost)
        if min(row) > 2:
            return _MANY
    return row[-1]
