"""Parses a text into terms: stems of words, names, codes, values, each with its negation."""

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
_FALSE_DENIALS: Final = re.compile(r"\b(?:not only|not just|not least|no (?:more|less|later|earlier|fewer) than|no doubt)\b", re.IGNORECASE)
_DENIAL_REACH: Final = 3  # how many terms after a "not" it denies, within its clause
_CLAUSE_WORDS: Final = frozenset({"but", "however", "unless", "except", "although", "though"})
_NOT_ONLY_MONTHS: Final = frozenset({"may", "march", "mar", "dec", "sep", "sept"})  # months only with a capital
_CHARACTER_FORMS: Final = str.maketrans({"’": "'", "‘": "'", "–": "-", "—": " - ", "−": "-", "‑": "-"})


@dataclass(frozen=True, slots=True)
class Term:
    """One term in its comparable form."""

    stem: str
    kind: Kind = "word"
    denied: bool = False


@lru_cache(maxsize=4096)
def parse_terms(text: str) -> tuple[Term, ...]:
    """The terms of a text, in order; function words are left out."""
    parsed: list[Term] = []
    denied = 0
    for token in _tokens(text):
        if isinstance(token, Term):
            parsed.append(Term(token.stem, token.kind, denied > 0))
            denied -= denied > 0
        else:
            denied = _DENIAL_REACH if token else 0
    return tuple(parsed)


def folded(text: str) -> str:
    """Normalises width, quotes, dashes and accents; a long dash gets spaces."""
    return without_accents(text.translate(_CHARACTER_FORMS))


def _tokens(text: str) -> Iterator[Term | bool]:
    """Terms; True where a denial begins, False where a clause ends."""
    text = _FALSE_DENIALS.sub(" ", spelled_dates(folded(text)))
    all_capitals = text.isupper()
    matches = list(_TOKEN.finditer(text))
    sentence_start = True  # at the start of a sentence a capital says nothing
    skip = 0  # tokens that the one before has taken in
    for position, match in enumerate(matches):
        if skip:
            skip -= 1
            continue
        kind, token = match.lastgroup, match.group()
        after = [other.group().casefold() for other in matches[position + 1 : position + 3]]
        if kind == "stop":
            yield False
            sentence_start = token in {".", "!", "?", ":"}
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
            capitalised = token[0].isupper() and not all_capitals
            is_acronym = capitalised and token.isupper() and len(token) > 1
            name_follows = matches[position + 1].group()[:1].isupper() if position + 1 < len(matches) else False
            is_name = capitalised and (not sentence_start or is_acronym or (name_follows and len(token) > 1))
            yield from _word(token.casefold(), name=is_name, capital=capitalised, loud=is_acronym)
        sentence_start = False


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
    elif base in _CLAUSE_WORDS:
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
