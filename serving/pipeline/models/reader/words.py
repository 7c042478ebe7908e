"""Words as the reader compares them: stemmed, without those that carry no meaning; codes and numbers whole."""

import re
from functools import lru_cache
from typing import Final

from serving.pipeline.text.folding import straight_apostrophes
from serving.pipeline.text.stems import stem
from serving.pipeline.text.stopwords import READER_STOP_WORDS
from serving.pipeline.text.words import TECHNICAL_WORD

_INNER: Final = re.compile(r"[-_./'’]")
_WORD_AND_NUMBER: Final = re.compile(r"[a-z]{4,30}[-/.][a-z0-9/.-]+")
CODE: Final = re.compile(
    r"\b(?=[\w/-]{0,30}\d)(?=[\w/-]{0,30}[A-Za-z])[A-Za-z0-9]{1,30}(?:[-_/][A-Za-z0-9]{1,30}){0,8}\b"
    r"|\b[A-Z]{2,30}(?:-[A-Z0-9]{1,30}){1,8}\b"
)


def terms(text: str) -> tuple[str, ...]:
    """The meaningful terms of a text in order: stems of words, and codes and numbers as they are."""
    return _kept_terms(text) if len(text) <= _LONGEST_KEPT else _terms(text)


def term_set(text: str) -> frozenset[str]:
    """The same, once each."""
    return _kept_term_set(text) if len(text) <= _LONGEST_KEPT else frozenset(_terms(text))


def codes(text: str) -> tuple[str, ...]:
    """Part numbers, form numbers, error codes and the like, lower case, in order and once each."""
    return _kept_codes(text) if len(text) <= _LONGEST_KEPT else _codes(text)


def _terms(text: str) -> tuple[str, ...]:
    result: list[str] = []
    for token in TECHNICAL_WORD.findall(text):
        lower = straight_apostrophes(token.lower())
        if any(character.isdigit() for character in lower) and not _WORD_AND_NUMBER.fullmatch(lower):
            result.append(lower.replace(",", "") if lower[0].isdigit() else lower)
        else:
            pieces = (piece for piece in _INNER.split(lower) if piece not in READER_STOP_WORDS and len(piece) > 1)
            result += [piece if any(map(str.isdigit, piece)) else stem(piece) for piece in pieces]
    return tuple(result)


def _codes(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(match.lower() for match in CODE.findall(text) if not _PLAIN_MEASURE.fullmatch(match)))


_PLAIN_MEASURE: Final = re.compile(
    r"\d{1,12}(?:st|nd|rd|th|s|h|k|m|kg|mm|cm|km|gb|mb|ms|min|am|pm|v|a|w|hz|bar|c)|[qhv]\d{1,2}|\d{1,12}-[a-z]{1,20}", re.IGNORECASE
)
_LONGEST_KEPT: Final = 1000  # characters; with the number of texts, this bounds what is kept to some 20 MB
_KEPT_TEXTS: Final = 8192  # sentences, rows and headings, which are read again for every question; each function is thread-safe
_kept_terms = lru_cache(_KEPT_TEXTS)(_terms)
_kept_term_set = lru_cache(_KEPT_TEXTS)(lambda text: frozenset(terms(text)))
_kept_codes = lru_cache(_KEPT_TEXTS)(_codes)
