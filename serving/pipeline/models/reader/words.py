"""Words as the reader compares them: stemmed, without those that carry no meaning; codes and numbers whole."""

import re
import threading
from functools import cache, lru_cache
from typing import Any, Final

_TOKEN: Final = re.compile(r"\d[\d,]*\.\d+|\d{1,3}(?:,\d{3})+|[^\W_]+(?:[-_./'’][^\W_]+)*")
_INNER: Final = re.compile(r"[-_./'’]")
CODE: Final = re.compile(r"\b(?=[\w/-]*\d)(?=[\w/-]*[A-Za-z])[A-Za-z0-9]+(?:[-_/][A-Za-z0-9]+)*\b|\b[A-Z]{2,}(?:-[A-Z0-9]+)+\b")
_STOP_WORDS: Final = (
    "a about according after all also an and any are as at be been being between both but by can could did do does doing for from give "
    "had has have having he her his how i if in into is it its just kind many may me much must my no not of on one or our per she should "
    "so some such tell than that the their them then there these they this those to under up us use used was we were what when where "
    "which while who whom whose why will with within would you your please say says said exactly currently now get need needs "
    "company s t re ve"
)
STOP: Final = frozenset(_STOP_WORDS.split())
_LOCK: Final = threading.Lock()  # the stemmer keeps its word in itself


@cache
def _stemmer() -> Any:
    import snowballstemmer

    return snowballstemmer.stemmer("english")


@lru_cache(maxsize=65536)
def stem(word: str) -> str:
    """The stem of a lower-case English word."""
    with _LOCK:
        return str(_stemmer().stemWord(word))


def terms(text: str) -> list[str]:
    """The meaningful terms of a text in order: stems of words, and codes and numbers as they are."""
    found: list[str] = []
    for token in _TOKEN.findall(text):
        lower = token.lower().replace("’", "'")
        if any(character.isdigit() for character in lower) and not re.fullmatch(r"[a-z]{4,}[-/.][a-z0-9/.-]+", lower):
            found.append(lower.replace(",", "") if lower[0].isdigit() else lower)
        else:
            pieces = (piece for piece in _INNER.split(lower) if piece not in STOP and len(piece) > 1)
            found += [piece if any(map(str.isdigit, piece)) else stem(piece) for piece in pieces]
    return found


def codes(text: str) -> list[str]:
    """Part numbers, form numbers, error codes and the like, lower case, in order and once each."""
    return list(dict.fromkeys(match.lower() for match in CODE.findall(text) if not _PLAIN_MEASURE.fullmatch(match)))


_PLAIN_MEASURE: Final = re.compile(
    r"\d+(?:st|nd|rd|th|s|h|k|m|kg|mm|cm|km|gb|mb|ms|min|am|pm|v|a|w|hz|bar|c)|[qhv]\d{1,2}|\d+-[a-z]+", re.IGNORECASE
)
