"""What else may stand for a question's term in these passages: other words, abbreviations, codes of a letter and a digit."""

import re
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final

from serving.pipeline.models.reader.brief import Passage
from serving.pipeline.models.reader.question import ParsedQuestion
from serving.pipeline.models.reader.thesaurus import alike
from serving.pipeline.models.reader.words import terms
from serving.pipeline.text.stems import stem

_GLOSS: Final = re.compile(r"\b([A-Z][\w-]+(?: (?:of |and )?[A-Z]?[\w-]+){0,4}) \(([A-Z][A-Z0-9]{1,5})\)")
_SHORT: Final = re.compile(r"\b[A-Z]{2,4}\b")
_NUMBERED: Final = re.compile(r"\b([A-Za-z])[a-z]{3,}\s(\d{1,2})\b")
_NAME: Final = re.compile(r"\b[A-Z][a-z]+\b")
_SYNONYM: Final = 0.7
_GLOSSED: Final = 0.95
_GUESSED: Final = 0.5  # LDS for Leeds, where no passage says so


@dataclass(frozen=True, slots=True)
class Likeness:
    """What a place of the passages is worth for a term of the question."""

    others: Mapping[str, Mapping[str, float]]

    def worth(self, term: str, place: AbstractSet[str]) -> float:
        """1 for the term itself, less for what may stand for it, 0 for neither."""
        if term in place:
            return 1.0
        return max((worth for other, worth in self.others.get(term, {}).items() if other in place), default=0.0)

    @classmethod
    def of(cls, question: ParsedQuestion, passages: Sequence[Passage]) -> "Likeness":
        """What may stand for each term of a question."""
        found: dict[str, dict[str, float]] = {term: dict.fromkeys(sorted(alike(term)), _SYNONYM) for term in question.terms}

        def learn(term: str, other: str, worth: float) -> None:
            if term in found and other != term:
                found[term][other] = max(worth, found[term].get(other, 0.0))

        for match in _NUMBERED.finditer(question.text):  # "severity 1" is S1, "level 2" is L2
            for term in terms(match[0]):
                learn(term, f"{match[1].lower()}{match[2]}", 1.0)
        shorts: dict[str, None] = {}
        for passage in passages:
            for match in _GLOSS.finditer(passage.text):
                _learn_gloss(match[1], match[2], learn)
            shorts |= dict.fromkeys(_SHORT.findall(f"{passage.section} {passage.text}"))
        for name in _NAME.findall(question.text):
            for short in shorts:
                if _abbreviates(short.lower(), name.lower()):
                    learn(stem(name.lower()), short.lower(), _GUESSED)
        return cls(found)


def _learn_gloss(name: str, short: str, learn: Callable[[str, str, float], None]) -> None:
    """Learn from "Leeds (LDS)" and "Data Protection Officer (DPO)": the last words whose letters the short form takes."""
    words = name.split()
    for size in range(1, len(words) + 1):
        tail = words[-size:]
        if tail[0][0] == short[0] and _in_order(short.lower(), "".join(tail).lower()):
            for term in terms(" ".join(tail)):
                learn(term, short.lower(), _GLOSSED)
                if size == 1 or len(terms(" ".join(tail))) > 1:
                    learn(short.lower(), term, _GLOSSED / size)
            return


def _abbreviates(short: str, name: str) -> bool:
    """Whether a name's first letter and others in order make the short form."""
    return len(short) >= 3 and len(name) > len(short) and short[0] == name[0] and _in_order(short, name)


def _in_order(letters: str, word: str) -> bool:
    rest = iter(word)
    return all(letter in rest for letter in letters)
