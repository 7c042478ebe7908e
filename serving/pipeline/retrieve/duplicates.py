"""Recognises hits that only repeat a better one."""

import math
import re
from collections.abc import Sequence
from itertools import islice

from serving.pipeline.text.words import WORD
from serving.pipeline.types import Hit

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
    runs: list[set[Shingle]] = []  # of each kept hit
    holders: dict[Shingle, list[int]] = {}  # shingle → places of the kept hits that have it
    for hit in hits:
        text = hit.chunk.text
        if text in texts:
            continue
        if similarity < 1.0:
            shingles = _shingles(text)
            enough = max(similarity * len(shingles), 1)
            # who shares enough of them has one of any so many: looking for the rest would find nobody else
            some = islice(shingles, len(shingles) - math.ceil(enough) + 1) if shingles else ()
            rivals = {place for shingle in some for place in holders.get(shingle, ())}
            if any(len(shingles & runs[place]) >= enough and _figures(text) <= _figures(kept[place].chunk.text) for place in rivals):
                continue
            for shingle in shingles:
                holders.setdefault(shingle, []).append(len(kept))
            runs.append(shingles)
        texts.add(text)
        kept.append(hit)
    return kept


def _shingles(text: str) -> set[Shingle]:
    words = WORD.findall(text.casefold())
    width = min(WIDTH, len(words))
    return set(zip(*(words[start:] for start in range(width)), strict=False)) if width else set()


def _figures(text: str) -> set[str]:
    return set(FIGURE.findall(text.casefold()))
