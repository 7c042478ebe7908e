"""Normalises characters that look the same: apostrophes, accents, dashes."""

import re
import unicodedata
from typing import Final

_DASH: Final = re.compile(r"[‐‑‒–—−]")


def straight_apostrophes(text: str) -> str:
    """The text with ’ as '; offsets stay the same."""
    return text.replace("’", "'")


def plain_dashes(text: str) -> str:
    """The text with every dash and minus as a hyphen; offsets stay the same."""
    return _DASH.sub("-", text)


def without_accents(text: str) -> str:
    """The text in compatibility form (ﬁ is fi, ½ is 1⁄2) without the marks on its letters."""
    return "".join(character for character in unicodedata.normalize("NFKD", text) if not unicodedata.combining(character))


def caseless(text: str) -> str:
    """The text in one width and one case."""
    return unicodedata.normalize("NFKC", text).casefold()
