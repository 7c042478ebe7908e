"""Questions that look like those of a golden set and have another answer: reversed, denied, with another number, year, name or term."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from typing import Final, Literal

from serving.pipeline.checks.equivalence.names import KNOWN, names_of
from serving.pipeline.checks.equivalence.polarity import antonyms_as_written
from serving.pipeline.checks.equivalence.tokens import tokens_of
from serving.pipeline.checks.equivalence.words import FUNCTION_WORDS

Kind = Literal["denied", "opposite", "reversed", "number", "year", "place", "name", "code", "asked", "term"]

_YEAR: Final = re.compile(r"\b(?:19|20)\d\d\b")
_NUMBER: Final = re.compile(r"(?<![\w.,/-])\d{1,3}(?:,\d{3}){0,4}(?:\.\d{1,6})?(?![\w/-]|[.,]\d)")
_CODE: Final = re.compile(r"\b(?=[\w-]{0,30}\d)[A-Z]{1,8}[-_]?\d[\w-]{0,20}\b")
_SPELLED: Final = re.compile(r"\b(two|three|four|five|six|seven|eight|nine|ten|twelve|twenty|thirty)\b", re.IGNORECASE)
_NEXT_SPELLED: Final = dict(
    zip(
        "two three four five six seven eight nine ten twelve twenty thirty".split(),  # noqa: SIM905 — a list of words reads better so
        "four five three eight nine six ten seven twelve fifteen forty fifty".split(),  # noqa: SIM905 — a list of words reads better so
        strict=True,
    )
)
_AUXILIARY: Final = re.compile(r"\b(is|are|was|were|does|do|did|can|could|must|should|will|would|may|has|have|had)\b", re.IGNORECASE)
_DENIED: Final = {"can": "cannot", "may": "may not", "will": "won't"}
_RARE: Final = 2  # questions with a word that is put into others
_WORD: Final = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*")
_FROM_TO: Final = re.compile(
    r"\b(from|between) (?!the )([\w-]{2,30}(?: [A-Z][\w-]{1,30})?) (to|into) (?!the )([\w-]{2,30}(?: [A-Z][\w-]{1,30})?)(?=[ ?.,]|\Z)"
)
_THAN: Final = re.compile(r"\b((?:the )?[A-Z][\w-]{1,30}) ([a-z ]{2,60} than) ((?:the )?[A-Z][\w-]{1,30})")
_ASKED: Final = (  # how a question begins, and how one about something else does
    ("how long", "why"),
    ("how many", "which"),
    ("how much", "why"),
    ("how fast", "why"),
    ("how soon", "why"),
    ("who", "when"),
    ("when", "where"),
    ("where", "when"),
    ("why", "when"),
    ("how do", "why do"),
    ("how does", "why does"),
)


# what follows a question word that asks; "when" and "where" may begin a clause
_ASKING: Final = r"(?:is|are|was|were|does|do|did|can|could|must|should|will|would|may|has|have|had|[a-z]+s)\b"


@dataclass(frozen=True, slots=True)
class HardNegative:
    """A question, and one that differs in what decides its answer."""

    question: str
    altered: str
    kind: Kind


def hard_negatives(questions: Sequence[str]) -> list[HardNegative]:
    """Every alteration that each question allows, the same for the same questions; names are taken from the other questions."""
    names = _names(questions)
    found: dict[tuple[str, str], HardNegative] = {}
    own = set(questions)
    for question in questions:
        for kind, alter in _ALTERATIONS.items():
            altered = alter(question, names)
            if altered is not None and altered != question and altered not in own:
                found.setdefault((question, altered), HardNegative(question, altered, kind))
    return list(found.values())


@dataclass(frozen=True, slots=True)
class _Names:
    """The names and the rare words in all questions, as they are written."""

    places: tuple[str, ...]
    others: tuple[str, ...]
    terms: tuple[str, ...]  # words that only one or two questions have


def _names(questions: Sequence[str]) -> _Names:
    written = sorted({name for question in questions for name in _written_names(question)})
    places = tuple(name for name in written if name.lower() in KNOWN)
    counts = Counter(word for question in questions for word in set(_WORD.findall(question)) if _is_term(word))
    terms = sorted(word for word, count in counts.items() if count <= _RARE)
    return _Names(places, tuple(name for name in written if name not in places), tuple(terms))


def _written_names(question: str) -> Iterator[str]:
    """The names of a question with their capitals."""
    for run in names_of(tokens_of(question)).runs:
        match = re.search(r"(?<!\w)" + r"[\s-]+".join(map(re.escape, run)) + r"(?!\w)", question, re.IGNORECASE)
        if match and match[0][0].isupper():
            yield match[0]


def _denied(question: str, names: _Names) -> str | None:
    match = _AUXILIARY.search(question)
    if match is None or re.search(r"\bnot?\b|n't\b|\bnever\b|\bwithout\b", question, re.IGNORECASE):
        return None
    word = match[0]
    denial = _DENIED.get(word.lower(), f"{word.lower()}n't")
    return _replaced(question, match, denial.capitalize() if word[0].isupper() else denial)


def _opposite(question: str, names: _Names) -> str | None:
    for match in _WORD.finditer(question):
        antonym = _antonyms().get(match[0].lower())
        if antonym is not None and question[max(0, match.start() - 3) : match.start()].lower() != "no ":
            return _replaced(question, match, antonym.capitalize() if match[0][0].isupper() else antonym)
    return None


@cache
def _antonyms() -> dict[str, str]:
    """The antonyms that are put in a word's place; particles are left alone, since "in" and "to" say too much else."""
    return {word: antonym for word, antonym in antonyms_as_written().items() if len(word) > 3 and len(antonym) > 3}


def _reversed(question: str, names: _Names) -> str | None:
    match = _FROM_TO.search(question)
    if match:
        return f"{question[: match.start()]}{match[1]} {match[4]} {match[3]} {match[2]}{question[match.end() :]}"
    match = _THAN.search(question)
    return f"{question[: match.start()]}{match[3]} {match[2]} {match[1]}{question[match.end() :]}" if match else None


def _number(question: str, names: _Names) -> str | None:
    for match in _NUMBER.finditer(question):
        if not _YEAR.fullmatch(match[0]):
            return _replaced(question, match, _other_number(match[0]))
    spelled = _SPELLED.search(question)
    return _replaced(question, spelled, _NEXT_SPELLED[spelled[0].lower()]) if spelled else None


def _other_number(digits: str) -> str:
    """Another first digit that keeps the length: 30 is 40, 1,200 is 2,200."""
    return f"{int(digits[0]) % 9 + 1}{digits[1:]}"


def _year(question: str, names: _Names) -> str | None:
    match = _YEAR.search(question)
    return _replaced(question, match, str(int(match[0]) - 1)) if match else None


def _place(question: str, names: _Names) -> str | None:
    return _renamed(question, names.places)


def _name(question: str, names: _Names) -> str | None:
    return _renamed(question, names.others)


def _renamed(question: str, names: Sequence[str]) -> str | None:
    """The first of the names in a question, replaced by another with as many words."""
    for name in _written_names(question):
        if name not in names:
            continue
        others = [other for other in names if not set(other.lower().split()) & set(question.lower().split())]
        alike = [other for other in others if other.count(" ") == name.count(" ") and other.isupper() == name.isupper()] or others
        if alike:
            return question.replace(name, alike[_place_of(question, len(alike))], 1)
    return None


def _term(question: str, names: _Names) -> str | None:
    """Its last word with a meaning, replaced by one of another question."""
    words = [match for match in _WORD.finditer(question) if _is_term(match[0])]
    others = [word for word in names.terms if word not in question.lower()]
    if len(words) < 2 or not others:
        return None
    return _replaced(question, words[-1], others[_place_of(question, len(others))])


def _is_term(word: str) -> bool:
    return len(word) > 4 and word.islower() and word not in FUNCTION_WORDS


def _code(question: str, names: _Names) -> str | None:
    match = _CODE.search(question)
    if match is None:
        return None
    digit = max(index for index, character in enumerate(match[0]) if character.isdigit())
    return _replaced(question, match, f"{match[0][:digit]}{(int(match[0][digit]) + 1) % 10}{match[0][digit + 1 :]}")


def _asked(question: str, names: _Names) -> str | None:
    for beginning, other in _ASKED:
        if re.match(rf"{beginning} {_ASKING}", question, re.IGNORECASE):
            return other.capitalize() + question[len(beginning) :]
    return None


def _replaced(question: str, match: re.Match[str], text: str) -> str:
    return question[: match.start()] + text + question[match.end() :]


def _place_of(text: str, count: int) -> int:
    """A number below `count` that is the same on every machine."""
    return int.from_bytes(sha256(text.encode("utf-8", "surrogatepass")).digest()[:4], "big") % count


_ALTERATIONS: Final[dict[Kind, Callable[[str, _Names], str | None]]] = {
    "denied": _denied,
    "opposite": _opposite,
    "reversed": _reversed,
    "number": _number,
    "year": _year,
    "place": _place,
    "name": _name,
    "code": _code,
    "asked": _asked,
    "term": _term,
}
