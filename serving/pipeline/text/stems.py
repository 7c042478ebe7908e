"""The stem of a word, and a text as its stems."""

import threading
from functools import cache, lru_cache
from typing import Any, Final

from serving.pipeline.text.folding import without_accents
from serving.pipeline.text.words import WORD

_LOCK: Final = threading.Lock()  # the stemmer has internal state


@cache
def _stemmer() -> Any:
    import snowballstemmer

    return snowballstemmer.stemmer("english")


@lru_cache(maxsize=100_000)
def stem(word: str) -> str:
    """The stem of a lower-case English word."""
    with _LOCK:
        return str(_stemmer().stemWord(word))


def stemmed_words(text: str) -> list[str]:
    """The words of a text, without case, accents and English endings."""
    return [stem(word) for word in WORD.findall(without_accents(text).casefold())]
