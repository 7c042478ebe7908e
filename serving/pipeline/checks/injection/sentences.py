"""Cuts a text into what may each be an order, however it is hidden: broken over lines, spaced out, encoded, in other letters."""

import base64
import binascii
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from serving.pipeline.text.words import WORD

WITHIN: Final = "x "
SENTENCE_LIMIT: Final = 400  # characters of a sentence that are looked at
_BREAK: Final = re.compile(r"[\n|]+|(?<=[.!?])[ \t]+")
_SOFT_BREAK: Final = re.compile(r"\n{2,}|[|]+|(?<=[.!?])[ \t\n]+")
_ENCODED: Final = re.compile(r"(?<![A-Za-z0-9+/])[A-Za-z0-9+/]{24,4000}={0,2}")
_SPACED: Final = re.compile(r"(?<!\w)(?:[^\W_][ ._\-*]{1,3}){7,400}[^\W_](?!\w)")
_GAP: Final = re.compile(r"[ ._\-*]+")
_LOOK_ALIKES: Final = str.maketrans(
    "аеорсухіјѕԁԛԝһӏАВЕКМНОРСТХЅІЈοαινρτυκεΑΒΕΖΗΙΚΜΝΟΡΤΥΧ",
    "aeopcyxijsdqwhlABEKMHOPCTXSIJoaivptukeABEZHIKMNOPTYX",
)
_LEET: Final = str.maketrans("013457@$", "oieastas")


@dataclass(frozen=True, slots=True)
class Sentence:
    """A piece of a text, and its words as a reader of plain letters would have them."""

    start: int
    end: int
    plain: str


def split(text: str) -> Iterator[Sentence]:
    """Every piece that may be an order; those that were broken, spaced out or encoded also put together."""
    yield from _pieces(text)
    if "\n" in text:
        for start, end in _spans(text, _SOFT_BREAK):
            if end - start <= SENTENCE_LIMIT and "\n" in text[start:end]:
                yield Sentence(start, end, plain(text[start:end]).replace("\n", " "))
    yield from _hidden(text)


def plain(text: str) -> str:
    """The text in one width, without invisible characters, and with letters of other scripts that stand among Latin ones as those."""
    if text.isascii():
        return WORD.sub(_without_leet, text) if any(character in text for character in "013457@$") else text
    shown = "".join(_visible(character) for character in unicodedata.normalize("NFKC", text))
    return WORD.sub(_without_leet, WORD.sub(_latin, shown))


def _spans(text: str, breaks: re.Pattern[str]) -> Iterator[tuple[int, int]]:
    """The span of each piece between breaks, without white space around it."""
    position = 0
    for end, following in [*((match.start(), match.end()) for match in breaks.finditer(text)), (len(text), len(text))]:
        piece = text[position:end]
        bare = piece.strip()
        if bare:
            start = position + len(piece) - len(piece.lstrip())
            yield start, start + len(bare)
        position = following


def _hidden(text: str) -> Iterator[Sentence]:
    """What becomes words only when it is decoded or its letters are pushed together."""
    for match in _ENCODED.finditer(text):
        decoded = _decoded(match.group())
        if decoded:
            yield from (Sentence(match.start(), match.end(), one.plain) for one in _pieces(decoded))
    for match in _SPACED.finditer(text):
        words = [_GAP.sub("", word) for word in re.split(r" {2,}", match.group())]
        if len(words) > 1:  # a wider gap between words
            yield Sentence(match.start(), match.end(), plain(" ".join(words)))


def _pieces(text: str) -> Iterator[Sentence]:
    """Each sentence, a long one in pieces that overlap; orders are told by their first word, so a later piece is marked as no beginning."""
    for start, end in _spans(text, _BREAK):
        yield Sentence(start, end, plain(text[start : min(end, start + SENTENCE_LIMIT)]))
        for place in range(start + SENTENCE_LIMIT // 2, end - SENTENCE_LIMIT // 2, SENTENCE_LIMIT // 2):
            yield Sentence(start, end, WITHIN + plain(text[place : place + SENTENCE_LIMIT]))


def _decoded(letters: str) -> str:
    """What Base64 letters say, or nothing where that is no text."""
    try:
        data = base64.b64decode(letters[: len(letters) // 4 * 4], validate=True).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError):
        return ""
    words = sum(character.isalpha() or character.isspace() for character in data)
    return data if " " in data and words >= 0.8 * len(data) else ""


def _visible(character: str) -> str:
    code = ord(character)
    if 0xE0020 <= code <= 0xE007E:  # tags: ASCII that no font shows
        return chr(code - 0xE0000)
    return "" if unicodedata.category(character) == "Cf" else character


def _latin(match: re.Match[str]) -> str:
    """A word of mixed scripts, in Latin letters; a wholly Cyrillic or Greek word stays."""
    word = match.group()
    if word.isascii():
        return word
    turned = word.translate(_LOOK_ALIKES)
    return turned if turned.isascii() or any("a" <= character <= "z" for character in word.casefold()) else word


def _without_leet(match: re.Match[str]) -> str:
    """A word whose digits stand for letters, as in "1gn0re"; part numbers and amounts have no small letters on both sides."""
    word = match.group()
    inner = sum(character.isdigit() for character in word)
    if not inner or inner > len(word) // 2 or sum("a" <= character <= "z" for character in word) < 3 or word[-1].isdigit():
        return word
    return word.translate(_LEET)
