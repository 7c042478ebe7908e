"""Characters that a reader does not see as they are, by class, and a text without them."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Final, Literal, get_args

CharacterClass = Literal["surrogates", "controls", "invisible", "bidi", "scripts"]
CLASSES: Final[tuple[CharacterClass, ...]] = get_args(CharacterClass)

_SURROGATES: Final = re.compile("[\ud800-\udfff]")
_CONTROLS: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ufff0-\uffff]")
_BIDI: Final = re.compile("[\u202a-\u202e\u2066-\u2069\u200e\u200f\u061c]")
_MARKS: Final = frozenset("\u200e\u200f\u061c")  # of a right-to-left text
_INVISIBLE: Final = re.compile(
    "[\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200d\u2060-\u2065\u206a-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
_JOINERS: Final = frozenset("\u200c\u200d")  # which many scripts, and families of signs, are written with
_WORD: Final = re.compile(r"[^\W\d_]{2,64}")
_ALIKE: Final[Mapping[str, str]] = {  # letters of Cyrillic and Greek that are read as Latin ones
    **dict(zip("АВЕЅІЈКМНОРСТХҮԚԜаеѕіјорсухԛԝһԁӏ", "ABESIJKMHOPCTXYQWaesijopcyxqwhdl", strict=True)),
    **dict(zip("ΑΒΕΖΗΙΚΜΝΟΡΤΥΧαινορυχϲ", "ABEZHIKMNOPTYXaivopuxc", strict=True)),
}
_LATIN: Final = re.compile("[A-Za-z\u00c0-\u024f]")


def find_characters(text: str) -> dict[CharacterClass, list[int]]:
    """The places of characters of each class; joiners, marks and variation selectors where they belong do not count."""
    right_to_left = any(unicodedata.bidirectional(character) in ("R", "AL") for character in text[:20_000])
    return {
        "surrogates": [match.start() for match in _SURROGATES.finditer(text)],
        "controls": [match.start() for match in _CONTROLS.finditer(text)],
        "invisible": [match.start() for match in _INVISIBLE.finditer(text) if not _belongs(text, match.start())],
        "bidi": [match.start() for match in _BIDI.finditer(text) if not (right_to_left and match[0] in _MARKS)],
        "scripts": [match.start() + place for match in _WORD.finditer(text) for place in _look_alikes(match[0])],
    }


def shown(text: str, found: Mapping[CharacterClass, Sequence[int]]) -> str:
    """The text as it is seen: without the characters that were found, mixed words in Latin letters."""
    out = list(text)
    for name, places in found.items():
        for place in places:
            out[place] = _ALIKE[text[place]] if name == "scripts" else ""
    return "".join(out)


def _belongs(text: str, place: int) -> bool:
    """Whether an invisible character is a part of what is written: in a script that joins its letters, or after a sign."""
    before = text[place - 1] if place else ""
    if not before or before.isascii():
        return before in "0123456789#*" and before != "" and text[place] == "\ufe0f"
    if text[place] in _JOINERS:
        after = text[place + 1] if place + 1 < len(text) else ""
        return bool(after) and not after.isascii() and not _LATIN.match(before) and not _INVISIBLE.match(after)
    return "\ufe00" <= text[place] <= "\ufe0f" and unicodedata.category(before)[0] == "S"


def _look_alikes(word: str) -> list[int]:
    """Where letters of another alphabet stand in a Latin word; units such as μm have none that is read as a Latin letter."""
    if word.isascii():
        return []
    places = [place for place, letter in enumerate(word) if letter in _ALIKE]
    return places if places and _LATIN.search(word) else []
