"""The words of a text as full-text search counts them: as LanceDB does with the settings of `LanceStore`."""

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from typing import Final, Literal

from serving.pipeline.text.stems import stem

StopWords = Literal["keep", "drop"]

LONGEST = 40  # bytes from which a run of letters and digits is no word
_RUN: Final = re.compile(r"[^\W_]+")
# LanceDB's English list, which it compares with stems: "before" and "does" are counted
_LISTED: Final = (
    "i me my myself we our ours ourselves you your yours yourself yourselves he him his himself she her hers herself it its itself "
    "they them their theirs themselves what which who whom this that these those am is are was were be been being have has had having "
    "do does did doing a an the and but if or because as until while of at by for with about against between into through during "
    "before after above below to from up down in out on off over under again further then once here there when where why how all any "
    "both each few more most other some such no nor not only own same so than too very s t can will just don should now d ll m o re ve "
    "y ain aren couldn didn doesn hadn hasn haven isn ma mightn mustn needn shan shouldn wasn weren won wouldn"
)
_STOP_WORDS: Final = frozenset(_LISTED.split())
_WITHOUT_PARTS: Final = str.maketrans(  # Latin letters that Unicode does not take apart
    {"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "đ": "d", "ð": "d", "þ": "th", "ħ": "h", "ı": "i", "ł": "l", "ŋ": "n", "ŧ": "t", "ĸ": "q"}
)


def counted_words(text: str, stop_words: StopWords) -> Iterator[str]:
    """The words of a text in their order, as stems without accents; one that repeats comes again."""
    drop = stop_words == "drop"
    return (word for run in _RUN.findall(text) if (word := _word(run, drop)))


@lru_cache(maxsize=50_000)
def _word(run: str, drop: bool) -> str:
    if len(run.encode("utf-8", "replace")) >= LONGEST:
        return ""
    word = stem(run.lower())
    return "" if drop and word in _STOP_WORDS else _plain(word)


def _plain(word: str) -> str:
    """The word with its Latin letters as ASCII; letters of other scripts stay as they are."""
    if word.isascii():
        return word
    return "".join(map(_ascii, word.translate(_WITHOUT_PARTS)))


def _ascii(character: str) -> str:
    parts = "".join(part for part in unicodedata.normalize("NFKD", character) if not unicodedata.combining(part))
    return parts if parts.isascii() and parts.isalnum() else character
