"""A text as the terms that carry its meaning: stems of words, names, codes, values, and whether each is denied."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

from serving.pipeline.checks.grounding.values import MONTHS, ORDINALS, SCALES, UNITS, WORDS, spelled_dates, value
from serving.pipeline.text.folding import without_accents
from serving.pipeline.text.stems import stem
from serving.pipeline.text.stopwords import STOP_WORDS

Kind = Literal["word", "name", "number", "code"]

_TOKEN: Final = re.compile(
    r"(?P<acronym>\b(?:[A-Za-z]\.){2,6})"
    r"|(?P<code>\b(?:[A-Z]{1,8}|[A-Za-z])[-_/]?\d{1,20}(?:[-_/.]?[A-Za-z0-9]{1,12}){0,4}\b)"
    r"|(?P<number>\d{1,2}:\d\d\b|\d{1,3}(?:,\d{3}){1,6}(?:\.\d{1,12})?(?!\d)|\d{1,20}(?:\.\d{1,12})?)"
    r"|(?P<word>[^\W\d_]+(?:'[^\W\d_]+)*)"
    r"|(?P<unit>[$€£%])"
    r"|(?P<stop>[.;:!?]|,)"
)
_SUFFIX: Final = frozenset({"st", "nd", "rd", "th", "s"})  # of 3rd and of 1990s
_DENIALS: Final = frozenset({"not", "no", "never", "cannot", "without", "none", "nobody", "nothing", "neither", "nor"})
_UNDENIED: Final = re.compile(r"\b(?:not only|not just|not least|no (?:more|less|later|earlier|fewer) than|no doubt)\b", re.IGNORECASE)
_REACH: Final = 3  # how many terms after a "not" it denies, within its clause
_TURNS: Final = frozenset({"but", "however", "unless", "except", "although", "though"})
_NOT_ONLY_MONTHS: Final = frozenset({"may", "march", "mar", "dec", "sep", "sept"})  # months only with a capital
_ALIKE: Final = str.maketrans({"’": "'", "‘": "'", "–": "-", "—": " - ", "−": "-", "‑": "-"})


@dataclass(frozen=True, slots=True)
class Term:
    """One thing said, in the form in which it is compared."""

    stem: str
    kind: Kind = "word"
    denied: bool = False


@lru_cache(maxsize=4096)
def terms(text: str) -> tuple[Term, ...]:
    """The terms of a text, in order; function words are left out."""
    found: list[Term] = []
    denied = 0
    for token in _tokens(text):
        if isinstance(token, Term):
            found.append(Term(token.stem, token.kind, denied > 0))
            denied -= denied > 0
        else:
            denied = _REACH if token else 0
    return tuple(found)


def folded(text: str) -> str:
    """One form for what looks alike: width, quotes, dashes, accents; a long dash stands apart."""
    return without_accents(text.translate(_ALIKE))


def _tokens(text: str) -> Iterator[Term | bool]:
    """Terms; True where a denial begins, False where a clause ends."""
    text = _UNDENIED.sub(" ", spelled_dates(folded(text)))
    shouted = text.isupper()
    found = list(_TOKEN.finditer(text))
    begins = True  # at the start of a sentence a capital says nothing
    skip = 0  # tokens that the one before has taken in
    for at, match in enumerate(found):
        if skip:
            skip -= 1
            continue
        kind, token = match.lastgroup, match.group()
        after = [other.group().casefold() for other in found[at + 1 : at + 3]]
        if kind == "stop":
            yield False
            begins = token in {".", "!", "?", ":"}
            continue
        if kind == "acronym":
            yield Term(token.replace(".", "").casefold(), "name")
        elif kind == "code":
            yield Term(re.sub(r"[-_/]", "", token.casefold()), "code")
        elif kind == "unit":
            yield Term(UNITS[token], "number")
        elif kind == "number":
            suffixed = text[match.end() : match.end() + 1].isalpha() and after[:1] and after[0] in _SUFFIX
            scale = after[0] if after and after[0] in SCALES else ""
            skip = int(bool(scale or suffixed))
            yield Term(value(token, scale), "number")
        elif WORDS.get(token.casefold(), 0) > 1:
            number, skip = _spelled(token.casefold(), after, hyphen=text[match.end() : match.end() + 1] == "-")
            yield number
        else:
            capital = token[0].isupper() and not shouted
            loud = capital and token.isupper() and len(token) > 1
            follows = found[at + 1].group()[:1].isupper() if at + 1 < len(found) else False
            name = capital and (not begins or loud or (follows and len(token) > 1))
            yield from _word(token.casefold(), name=name, capital=capital, loud=loud)
        begins = False


def _spelled(word: str, after: Sequence[str], *, hyphen: bool) -> tuple[Term, int]:
    """A number in words, and how many of the tokens after it belong to it: twenty-five, two hundred."""
    number, taken = WORDS[word], 0
    if hyphen and number >= 20 and after and 0 < WORDS.get(after[0], 0) < 10:
        number, taken = number + WORDS[after[0]], 1
    scale = after[taken] if taken < len(after) and after[taken] in SCALES else ""
    return Term(value(str(number), scale), "number"), taken + bool(scale)


def _word(lower: str, *, name: bool, capital: bool, loud: bool) -> Iterator[Term | bool]:
    base = lower.removesuffix("'s").removesuffix("'")
    if base in _DENIALS or base.endswith("n't"):
        yield True
    elif base in _TURNS:
        yield False
    elif base in MONTHS and (capital or base not in _NOT_ONLY_MONTHS):
        yield Term(MONTHS[base], "number")
    elif base in UNITS:
        yield Term(UNITS[base], "number")
    elif base in ORDINALS:
        yield Term(ORDINALS[base])
    elif base == "one":
        yield Term("1")
    elif loud or (base not in STOP_WORDS and len(base) > 1):
        yield Term(stem(base), "name" if name else "word")
