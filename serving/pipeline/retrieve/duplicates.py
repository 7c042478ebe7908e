"""Recognises hits that only repeat a better one."""

import math
import re
from collections.abc import Sequence
from itertools import islice

from serving.pipeline.text.words import WORD
from serving.pipeline.types import Hit

FIGURE = re.compile(r"(?<!\w)\w*\d\w*")
WIDTH = 3  # words in a shingle

Shingle = tuple[str, ...]


def without_repeats(hits: Sequence[Hit], similarity: float) -> list[Hit]:
    """The hits in their order without those whose runs of three words nearly all stand in one better hit.

    At 1 only identical texts are repeats. Below it, a hit with a figure that the better one lacks is never a repeat: two
    versions of a policy may differ in one number, and that number is what matters.
    """
    kept: list[Hit] = []
    texts: set[str] = set()
    shingles_of_kept: list[set[Shingle]] = []  # of each kept hit
    hits_by_shingle: dict[Shingle, list[int]] = {}  # shingle → places of the kept hits that have it
    for hit in hits:
        text = hit.chunk.text
        if text in texts:
            continue
        if similarity < 1.0:
            shingles = _shingles(text)
            least_shared = max(similarity * len(shingles), 1)
            # prefix filter: a hit that shares enough shingles shares at least one of these
            prefix = islice(shingles, len(shingles) - math.ceil(least_shared) + 1) if shingles else ()
            candidates = {place for shingle in prefix for place in hits_by_shingle.get(shingle, ())}
            if any(
                len(shingles & shingles_of_kept[place]) >= least_shared and _figures(text) <= _figures(kept[place].chunk.text)
                for place in candidates
            ):
                continue
            for shingle in shingles:
                hits_by_shingle.setdefault(shingle, []).append(len(kept))
            shingles_of_kept.append(shingles)
        texts.add(text)
        kept.append(hit)
    return kept


def _shingles(text: str) -> set[Shingle]:
    words = WORD.findall(text.casefold())
    width = min(WIDTH, len(words))
    return set(zip(*(words[start:] for start in range(width)), strict=False)) if width else set()


def _figures(text: str) -> set[str]:
    return set(FIGURE.findall(text.casefold()))
