"""Normalises questions, so that those that differ only in typing are equal."""

import re
import unicodedata
from typing import Final

from serving.pipeline.text.stopwords import AUXILIARIES, PREPOSITIONS, QUESTION_WORDS, REQUESTS, WORDIER_REQUESTS

_QUOTES: Final = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"', "\u00ad": None, "\u200b": None, "\ufeff": None})
_END: Final = "?.… \u061f\u3002\uff1f"  # not "!": 5! is another question than 5
_OPENINGS: Final = frozenset(  # no names, as "Will" and "May" are
    word.capitalize()
    for words in (QUESTION_WORDS, AUXILIARIES, PREPOSITIONS, REQUESTS, WORDIER_REQUESTS, "can could should would the a an if our my we")
    for word in words.split()
)
_FIRST_WORD: Final = re.compile(r"[A-Za-z]+")


def normalised(question: str) -> str:
    """A question without what does not change its meaning: white space, Unicode form, typographic quotes, the capital and mark at its ends.

    Other capitals stay: they tell IT from it, and WHO from who.
    """
    text = " ".join(unicodedata.normalize("NFC", question.translate(_QUOTES)).split())
    text = text.rstrip(_END) or text
    first = _FIRST_WORD.match(text)
    if first and first[0] in _OPENINGS:
        text = text[0].lower() + text[1:]
    return text
