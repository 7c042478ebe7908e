"""The stem of a word, once for search, reader and grounding."""

import threading
from functools import cache, lru_cache
from typing import Any, Final

_LOCK: Final = threading.Lock()  # the stemmer keeps its word in itself


@cache
def _stemmer() -> Any:
    import snowballstemmer

    return snowballstemmer.stemmer("english")


@lru_cache(maxsize=100_000)
def stem(word: str) -> str:
    """The stem of a lower-case English word."""
    with _LOCK:
        return str(_stemmer().stemWord(word))
