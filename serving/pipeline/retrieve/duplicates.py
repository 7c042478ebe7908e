"""Recognises hits that only repeat a better one."""

import re
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from serving.pipeline.index.shingles import Shingles
from serving.pipeline.types import Chunk, Hit

FIGURE = re.compile(r"(?<!\w)\w*\d\w*")


def without_repeats(hits: Sequence[Hit], similarity: float, shingles: Callable[[Chunk], Shingles]) -> list[Hit]:
    """The hits in their order, without those whose word trigrams nearly all occur in one better hit.

    At 1 only identical texts are repeats. Below it, a hit with a figure that the better one lacks is never a repeat: two
    versions of a policy may differ in one number, and that number is what matters.
    """
    first_of_text: dict[str, Hit] = {}
    for hit in hits:
        first_of_text.setdefault(hit.chunk.text, hit)
    distinct = list(first_of_text.values())
    if similarity >= 1.0 or len(distinct) < 2:
        return distinct
    of_hits = [shingles(hit.chunk) for hit in distinct]
    least_shared = np.array([max(similarity * len(own), 1) for own in of_hits])
    alike = _shared(of_hits) >= least_shared[:, None]  # row: a hit; column: another that has nearly all of its shingles
    kept: list[int] = []
    for place, hit in enumerate(distinct):
        better = [other for other in kept if alike[place, other]] if alike[place, :place].any() else []
        if not any(_figures(hit.chunk.text) <= _figures(distinct[other].chunk.text) for other in better):
            kept.append(place)
    return [distinct[place] for place in kept]


def _shared(of_hits: Sequence[Shingles]) -> NDArray[np.intp]:
    """How many shingles each hit has in common with each before it."""
    count = len(of_hits)
    every = np.concatenate(of_hits)
    order = np.argsort(every, kind="stable")  # equal shingles stand together, in the order of their hits
    every, owners = every[order], np.repeat(np.arange(count), [len(own) for own in of_hits])[order]
    shared = np.zeros(count * count, np.intp)
    again = np.flatnonzero(every[1:] == every[:-1]) + 1  # places of shingles that an earlier hit has as well
    distance = 1
    while len(again):
        shared += np.bincount(owners[again] * count + owners[again - distance], minlength=count * count)
        distance += 1
        again = again[again >= distance]
        again = again[every[again] == every[again - distance]]
    return shared.reshape(count, count)


def _figures(text: str) -> set[str]:
    return set(FIGURE.findall(text.casefold()))
