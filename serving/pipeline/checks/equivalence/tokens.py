"""Cuts a question into tokens: words, numbers, codes, signs and stops, folded so that what looks the same is the same."""

import re
import unicodedata
from dataclasses import dataclass, replace
from typing import Final, Literal

from serving.pipeline.checks.equivalence.words import words_of
from serving.pipeline.text.folding import without_accents

Kind = Literal["word", "number", "code", "sign", "stop"]

_FORMS: Final = str.maketrans(
    {"’": "'", "‘": "'", "ʼ": "'", "`": "'", "´": "'", "“": '"', "”": '"', "–": "-", "—": "-", "−": "-", "‑": "-", "‐": "-"}
)
_LOOK_ALIKES: Final = str.maketrans(  # letters of other alphabets that print as Latin ones
    "аеорсухіјѕԁһӏкмтвнАЕОРСУХІЈЅКМТВНοαιντρυχΑΒΕΖΗΙΚΜΝΟΡΤΥΧ", "aeopcyxijsdhlkmtbhAEOPCYXIJSKMTBHoaivtpuxABEZHIKMNOPTYX"
)
_TOKEN: Final = re.compile(
    r"(?P<number>\d{1,3}(?:,\d{3}){1,6}(?:\.\d{1,12})?(?![^\W_]))"
    r"|(?P<chunk>[^\W_]+(?:[-_/.:'&][^\W_]+)*(?:\+\+|#)?)"
    r"|(?P<sign>[$€£¥%°])"
    r"|(?P<stop>[.?!;:,()\n])"
)
_VERSION: Final = re.compile(r"\A[vV](?=\d)")  # v2.10 is 2.10
_INNER: Final = re.compile(r"[-_/.:&]")
_ACRONYM: Final = re.compile(r"[A-Za-z](?:\.[A-Za-z]){1,5}\Z")
_DIGITS: Final = re.compile(r"-?\d{1,40}(?:\.\d{1,12})?\Z")
_ISO_DATE: Final = re.compile(r"(\d{4})-(\d\d)-(\d\d)\Z")
_MEASURE: Final = re.compile(r"(\d{1,40}(?:\.\d{1,12})?)([^\W\d_]{1,40})\Z")
_COMPOUND: Final = re.compile(r"(\d{1,40}(?:\.\d{1,12})?)((?:-[^\W\d_]{2,40}){1,4})\Z")  # 30-day, 17-year-old
_WORD_AND_NUMBER: Final = re.compile(
    r"([^\W\d_]{4,40}|rs|inr|usd|eur|gbp)[.']?(\d{1,40}(?:\.\d{1,12})?)\Z", re.IGNORECASE
)  # iPhone6, Rs.200


@dataclass(frozen=True, slots=True)
class Token:
    """One token: its folded text, and how its author wrote it."""

    text: str
    kind: Kind
    capital: bool = False  # it begins with a capital
    loud: bool = False  # all of it is capitals
    joined: bool = False  # it follows the token before it without white space: "30-day"


def folded(text: str) -> str:
    """The text in one Unicode form, without marks, invisible characters and look-alike letters."""
    if text.isascii():
        return text
    plain = without_accents(text.translate(_FORMS))
    plain = "".join(character for character in plain if unicodedata.category(character) not in ("Cf", "Cs"))
    latin = sum("a" <= character <= "z" or "A" <= character <= "Z" for character in plain)
    letters = sum(map(str.isalpha, plain))
    return plain.translate(_LOOK_ALIKES) if 2 * latin > letters else plain


def tokens_of(text: str) -> list[Token]:
    """The tokens of a question, in order."""
    tokens: list[Token] = []
    text = folded(text)
    for match in _TOKEN.finditer(text):
        token = match[0]
        if token[0].isdigit() and _has_minus(text, match.start()):
            token = f"-{token}"
        if match.lastgroup == "number":
            tokens.append(Token(token.replace(",", ""), "number"))
        elif match.lastgroup == "chunk":
            tokens += _of_chunk(token)
        else:
            tokens.append(Token(token, "sign" if match.lastgroup == "sign" else "stop"))
    return tokens


def _has_minus(text: str, start: int) -> bool:
    """Whether a minus stands before a number: "-5 degrees", not "10-20"."""
    return text[start - 1 : start] == "-" and (start < 2 or text[start - 2].isspace() or text[start - 2] == "(")


def _of_chunk(chunk: str) -> list[Token]:
    if not any(map(str.isdigit, chunk)):
        return _words(chunk)
    if _DIGITS.match(chunk):
        return [_number(chunk)]
    date = _ISO_DATE.match(chunk)
    if date:
        return [_number(date[3]), Token(f"month{int(date[2])}", "word", joined=True), _number(date[1])]
    if not any(map(str.isalpha, chunk)):
        return _numerals(chunk)
    plain = _VERSION.sub("", chunk)
    if plain != chunk and not any(map(str.isalpha, plain)):
        return [_number(plain)] if _DIGITS.match(plain) else _numerals(plain)
    measure = _MEASURE.match(chunk)
    if measure and (measure[2].lower() in SUFFIXES or len(measure[2]) > 2):  # 3rd, 1990s, 10km, 5GB
        return [_number(measure[1]), Token(measure[2].lower(), "word", joined=True)]
    compound = _COMPOUND.match(chunk)
    if compound:
        return [_number(compound[1]), *(replace(token, joined=True) for token in _words(compound[2]))]
    named = _WORD_AND_NUMBER.match(chunk)
    if named:
        return [*_words(named[1]), _number(named[2])]
    return [Token(_INNER.sub("", plain).casefold(), "code", True, chunk.isupper())]


SUFFIXES: Final = words_of("st nd rd th s k m g h b d w t km cm mm kg mg lb oz ms gb mb kb tb hz am pm bn mw kw rs")


def _numerals(chunk: str) -> list[Token]:
    """24/7, 10-20, 08:30 and 1.2.3: the parts of the first two, the last two whole."""
    parts = [part for part in re.split(r"(?!\A)[-_/]", chunk) if part]
    if not all(map(_DIGITS.match, parts)):
        return [Token(_INNER.sub("", chunk.lstrip("0")), "code")]
    return [Token(part, "number", joined=index > 0) for index, part in enumerate(parts)]


def _number(digits: str) -> Token:
    return Token(digits, "number")


def _words(chunk: str) -> list[Token]:
    if _ACRONYM.match(chunk):
        return [Token(chunk.replace(".", "").casefold(), "word", chunk[0].isupper(), chunk.isupper())]
    parts = [part for part in _INNER.split(chunk) if part]
    return [
        Token(_bare(part.casefold()), "word", part[:1].isupper(), len(part) > 1 and part.isupper(), index > 0)
        for index, part in enumerate(parts)
    ]


def _bare(word: str) -> str:
    return word.removesuffix("'s")
