"""Words as the reader compares them: stemmed, without those that carry no meaning; codes and numbers whole."""

import re
from typing import Final

from serving.pipeline.text.folding import straight_apostrophes
from serving.pipeline.text.stems import stem
from serving.pipeline.text.stopwords import READER_STOP_WORDS
from serving.pipeline.text.words import TECHNICAL_WORD

_INNER: Final = re.compile(r"[-_./'’]")
CODE: Final = re.compile(r"\b(?=[\w/-]*\d)(?=[\w/-]*[A-Za-z])[A-Za-z0-9]+(?:[-_/][A-Za-z0-9]+)*\b|\b[A-Z]{2,}(?:-[A-Z0-9]+)+\b")


def terms(text: str) -> list[str]:
    """The meaningful terms of a text in order: stems of words, and codes and numbers as they are."""
    result: list[str] = []
    for token in TECHNICAL_WORD.findall(text):
        lower = straight_apostrophes(token.lower())
        if any(character.isdigit() for character in lower) and not re.fullmatch(r"[a-z]{4,}[-/.][a-z0-9/.-]+", lower):
            result.append(lower.replace(",", "") if lower[0].isdigit() else lower)
        else:
            pieces = (piece for piece in _INNER.split(lower) if piece not in READER_STOP_WORDS and len(piece) > 1)
            result += [piece if any(map(str.isdigit, piece)) else stem(piece) for piece in pieces]
    return result


def codes(text: str) -> list[str]:
    """Part numbers, form numbers, error codes and the like, lower case, in order and once each."""
    return list(dict.fromkeys(match.lower() for match in CODE.findall(text) if not _PLAIN_MEASURE.fullmatch(match)))


_PLAIN_MEASURE: Final = re.compile(
    r"\d+(?:st|nd|rd|th|s|h|k|m|kg|mm|cm|km|gb|mb|ms|min|am|pm|v|a|w|hz|bar|c)|[qhv]\d{1,2}|\d+-[a-z]+", re.IGNORECASE
)
