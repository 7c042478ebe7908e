"""Matches the terms of a question with synonyms, abbreviations and codes in the passages."""

import re
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final

from serving.pipeline.models.reader.prompt_task import Passage
from serving.pipeline.models.reader.question import ParsedQuestion
from serving.pipeline.models.reader.thesaurus import synonyms
from serving.pipeline.models.reader.words import terms
from serving.pipeline.text.stems import stem

_EXPLANATION: Final = re.compile(r"\b([A-Z][\w-]{1,30}(?: (?:of |and )?[A-Z]?[\w-]{1,30}){0,4}) \(([A-Z][A-Z0-9]{1,5})\)")
_SHORT: Final = re.compile(r"\b[A-Z]{2,4}\b")
_NUMBERED: Final = re.compile(r"\b([A-Za-z])[a-z]{3,20}\s(\d{1,2})\b")
_LETTERS: Final = re.compile(r"\b[A-Za-z][a-z]{3,}\b")
_KIND_AND_NUMBER: Final = re.compile(r"\b([A-Z]{2,4})\d{1,4}\b")
_NUMBERED_KIND: Final = 0.8
_SYNONYM: Final = 0.7
_EXPLAINED: Final = 0.95
_GUESSED: Final = 0.5  # LDS for Leeds, where no passage says so


@dataclass(frozen=True, slots=True)
class TermMatcher:
    """How well a set of terms matches a term of the question."""

    alternatives: Mapping[str, Mapping[str, float]]
    abbreviated: frozenset[str] = frozenset()  # terms of which a passage shows a short form

    def match(self, term: str, place: AbstractSet[str]) -> float:
        """1 for the term itself, less for an alternative, 0 for neither."""
        if term in place:
            return 1.0
        others = self.alternatives.get(term)
        return max((weight for other, weight in others.items() if other in place), default=0.0) if others else 0.0

    @classmethod
    def of(cls, question: ParsedQuestion, passages: Sequence[Passage]) -> "TermMatcher":
        """The alternatives of each term of a question, from the thesaurus and the passages."""
        alternatives: dict[str, dict[str, float]] = {term: dict.fromkeys(sorted(synonyms(term)), _SYNONYM) for term in question.terms}

        def add(term: str, other: str, weight: float) -> None:
            if term in alternatives and other != term:
                alternatives[term][other] = max(weight, alternatives[term].get(other, 0.0))

        for match in _NUMBERED.finditer(question.text):  # "severity 1" is S1, "level 2" is L2
            for term in terms(match[0]):
                add(term, f"{match[1].lower()}{match[2]}", 1.0)
        abbreviations: dict[str, None] = {}
        abbreviated = set[str]()
        numbered: dict[str, set[str]] = {}
        for passage in passages:
            for match in _EXPLANATION.finditer(passage.text):
                _add_abbreviation(match[1], match[2], add)
            for match in _KIND_AND_NUMBER.finditer(passage.text):
                numbered.setdefault(match[1].lower(), set()).add(match[0].lower())
            abbreviations |= dict.fromkeys(_SHORT.findall(f"{passage.section} {passage.text}"))
        for word in _LETTERS.findall(question.text):
            for abbreviation in abbreviations:
                if _abbreviates(abbreviation.lower(), word.lower(), closely=word.islower()):
                    add(stem(word.lower()), abbreviation.lower(), _GUESSED)
                    if _abbreviates(abbreviation.lower(), word.lower(), closely=True):
                        abbreviated.add(stem(word.lower()))
        for term in question.terms:  # "IP rating" is shown by IP67
            if len(term) > 1 and term.isalpha():
                for other in numbered.get(term, ()):
                    add(term, other, _NUMBERED_KIND)
        return cls(alternatives, frozenset(abbreviated))


def _add_abbreviation(name: str, abbreviation: str, add: Callable[[str, str, float], None]) -> None:
    """Add the pair of "Leeds (LDS)" or "Data Protection Officer (DPO)": the last words whose letters the short form takes."""
    words = name.split()
    for size in range(1, len(words) + 1):
        tail = words[-size:]
        if tail[0][0] == abbreviation[0] and _in_order(abbreviation.lower(), "".join(tail).lower()):
            for term in terms(" ".join(tail)):
                add(term, abbreviation.lower(), _EXPLAINED)
                if size == 1 or len(terms(" ".join(tail))) > 1:
                    add(abbreviation.lower(), term, _EXPLAINED / size)
            return


def _abbreviates(abbreviation: str, word: str, *, closely: bool) -> bool:
    """Whether a word's first letter and others in order make the short form; closely: its beginning, or its last letter as well."""
    if len(abbreviation) < 3 or len(word) <= len(abbreviation) or abbreviation[0] != word[0]:
        return False
    if closely and not word.startswith(abbreviation) and abbreviation[-1] != word[-1]:
        return False
    return _in_order(abbreviation, word)


def _in_order(letters: str, word: str) -> bool:
    rest = iter(word)
    return all(letter in rest for letter in letters)
