"""Recognises hits that only repeat a better one."""

import re
from collections import Counter
from collections.abc import Sequence

from serving.pipeline.types import Hit

WORD = re.compile(r"\w+")
FIGURE = re.compile(r"\w*\d\w*")
WIDTH = 3  # words in a shingle

Shingle = tuple[str, ...]


def without_repeats(hits: Sequence[Hit], similarity: float) -> list[Hit]:
    """The hits in their order without those whose runs of three words nearly all stand in one better hit.

    At 1 only identical texts are repeats. Below it, a hit with a figure that the better one lacks is never a repeat: two
    versions of a policy may differ in one number, and that number is what matters.
    """
    kept: list[Hit] = []
    texts: set[str] = set()
    holders: dict[Shingle, list[int]] = {}  # shingle → places of the kept hits that have it
    for hit in hits:
        text = hit.chunk.text
        if text in texts:
            continue
        if similarity < 1.0:
            shingles = _shingles(text)
            shared = Counter(place for shingle in shingles for place in holders.get(shingle, ()))
            enough = max(similarity * len(shingles), 1)
            if any(count >= enough and _figures(text) <= _figures(kept[place].chunk.text) for place, count in shared.items()):
                continue
            for shingle in shingles:
                holders.setdefault(shingle, []).append(len(kept))
        texts.add(text)
        kept.append(hit)
    return kept


def _shingles(text: str) -> set[Shingle]:
    words = WORD.findall(text.casefold())
    width = min(WIDTH, len(words))
    return set(zip(*(words[start:] for start in range(width)), strict=False)) if width else set()


def _figures(text: str) -> set[str]:
    return set(FIGURE.findall(text.casefold()))
