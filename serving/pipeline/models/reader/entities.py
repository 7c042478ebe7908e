"""Which places, products and parties a question names, and which passages are about another one."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from typing import Final

from serving.pipeline.models.reader.prompt_task import Passage
from serving.pipeline.models.reader.spelling import is_near
from serving.pipeline.models.reader.words import term_set, terms

_WORD: Final = re.compile(r"[^\W\d_]+")
_OPENING: Final = re.compile(r"(?:\A|[.!?:;|\n\"“(*#>-])\s{0,40}\Z")  # before a word that is capitalised whatever it is
_NEVER_NAMES: Final = frozenset(
    """
    january february march april may june july august september october november december jan feb mar apr jun jul aug sep sept oct
    nov dec monday tuesday wednesday thursday friday saturday sunday spring summer autumn winter christmas easter english
    """.split()  # noqa: SIM905  a list of quoted words is hard to read
)
_OF_A_PEOPLE: Final = re.compile(r"(?:ish|ese|[aeicx]an)\Z|\A(?:german|french|dutch|swiss|greek|czech)\Z")  # adjectives, no places
_QUALIFIER: Final = re.compile(
    r"\(([^()]{2,60})\)|,\s([^,()]{2,60})\Z|\b(?:for|in|at|of)\s([^,()]{2,60})\Z"
)  # of a title: "(Austin)", ", Lyon"
_LEAST: Final = 3  # letters of a name
_TITLE_CASE: Final = 0.6  # share of capitalised words from which capitals say nothing
_CACHED: Final = 4096  # texts


@dataclass(frozen=True, slots=True)
class Entities:
    """The names in a question, lower case, each a tuple of its words; and by passage how it stands to them."""

    named: tuple[tuple[str, ...], ...]
    missing: tuple[tuple[str, ...], ...]  # names in no passage
    focus: dict[int, float]  # by passage number: -1 where its title or section says that it is about another one, else 0

    @classmethod
    def of(cls, question: str, passages: Sequence[Passage], abbreviations: frozenset[str] = frozenset()) -> "Entities":
        """The names of a question over its passages; `abbreviations` are words of the question that a passage shows shortened."""
        texts = {passage.number: f"{passage.title}\n{passage.section}\n{passage.text}" for passage in passages}
        words = {number: _words_of(text) for number, text in texts.items()}
        lower = frozenset[str]().union(*(found.lower for found in words.values()))
        proper = frozenset[str]().union(*(found.capitalised for found in words.values())) - lower - _NEVER_NAMES
        every = frozenset[str]().union(*(found.every for found in words.values()))
        named = _names(question, proper)
        missing = tuple(name for name in named if not _is_known(name, every, abbreviations))
        focus = {}
        asked = [name for name in named if name not in missing]
        for passage in passages:
            known = words[passage.number].every
            elsewhere = bool(asked) and bool(_qualifiers(passage) - lower) and not any(set(name) & known for name in asked)
            focus[passage.number] = -1.0 if elsewhere else 0.0
        return cls(named, missing, focus)


def _names(question: str, proper: frozenset[str]) -> tuple[tuple[str, ...], ...]:
    """Runs of words that are capitalised inside a sentence, or that the passages write with a capital only."""
    found = [(match, _OPENING.search(question, 0, match.start()) is None) for match in _WORD.finditer(question)]
    long_words = [match[0] for match, inside in found if inside and len(match[0]) > _LEAST]
    capitals_tell = sum(word[0].isupper() for word in long_words) <= _TITLE_CASE * len(long_words) or len(long_words) < 3

    def is_name(match: re.Match[str], *, inside: bool) -> bool:
        word = match[0]
        if len(word) < _LEAST or word.lower() in _NEVER_NAMES or _OF_A_PEOPLE.search(word.lower()):
            return False
        if match.end() < len(question) and question[match.end()] in "-_0123456789":
            return False
        return word.lower() in proper or (inside and capitals_tell and word[0].isupper() and word[1:].islower())

    runs = groupby(found, key=lambda one: is_name(one[0], inside=one[1]))
    return tuple(dict.fromkeys(tuple(match[0].lower() for match, _ in run) for named, run in runs if named))


def _is_known(name: tuple[str, ...], every: frozenset[str], abbreviations: frozenset[str]) -> bool:
    """Whether a passage has a word of the name, shortened or misspelt included."""
    stems = term_set(" ".join(name))
    if set(name) & every or stems & abbreviations or not stems:
        return True
    return any(is_near(word, other, most=1) for word in name for other in every) or bool(stems & frozenset(terms(" ".join(every))))


def vocabulary(passages: Sequence[Passage]) -> frozenset[str]:
    """Every word of the passages, lower case."""
    return frozenset[str]().union(*(_words_of(f"{passage.title}\n{passage.section}\n{passage.text}").every for passage in passages))


@dataclass(frozen=True, slots=True)
class _TextWords:
    """The words of a text, lower case: all, those with a small letter, those with a capital inside a sentence or heading."""

    every: frozenset[str]
    lower: frozenset[str]
    capitalised: frozenset[str]


@lru_cache(maxsize=_CACHED)
def _words_of(text: str) -> _TextWords:
    every, lower, capitalised = set[str](), set[str](), set[str]()
    for match in _WORD.finditer(text):
        word = match[0]
        every.add(word.lower())
        if word.islower():
            if text[match.start() - 1 : match.start()] not in ("-", "/", "_") and text[match.end() : match.end() + 1] not in (
                "-",
                "/",
                "_",
            ):
                lower.add(word)  # a file's name says nothing of how a word is written
        elif _is_capitalised(word) and _OPENING.search(text, max(0, match.start() - 4), match.start()) is None:
            capitalised.add(word.lower())
    return _TextWords(frozenset(every), frozenset(lower), frozenset(capitalised))


def _is_capitalised(word: str) -> bool:
    return len(word) >= _LEAST and word[0].isupper() and word[1:].islower()


def _qualifiers(passage: Passage) -> frozenset[str]:
    """The words that say for which place or party a passage's document or section is."""
    found = [match[match.lastindex or 0] for head in (passage.title, passage.section) for match in _QUALIFIER.finditer(head)]
    words = (word for text in found for word in _WORD.findall(text))
    return frozenset(word.lower() for word in words if word[0].isupper() and word[1:].islower()) - _NEVER_NAMES
