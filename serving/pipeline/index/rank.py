"""Ranking of search results: by score, ties by chunk id."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serving.pipeline.index.base import ScoredChunk

DIGITS = 6  # of a score that count: processors differ in the digits beyond


def ranked(scored: Iterable[ScoredChunk]) -> list[ScoredChunk]:
    """Best first; scores are rounded so that every machine gives the same order."""
    rounded = (ScoredChunk(hit.chunk, round(float(hit.score), DIGITS) + 0.0) for hit in scored)
    return sorted(rounded, key=lambda hit: (-hit.score, hit.chunk.id))


def top_k(ranked_chunks: list[ScoredChunk], k: int, limit: int) -> list[ScoredChunk] | None:
    """The first `k` of `limit` ranked results, or None if a tie with the k-th may continue beyond the limit."""
    if len(ranked_chunks) < limit or (len(ranked_chunks) > k and ranked_chunks[-1].score < ranked_chunks[k - 1].score):
        return ranked_chunks[:k]
    return None


@dataclass(frozen=True, slots=True, eq=False)
class BestPlaces:
    """Places in an array of scores, best first, and their scores as `ranked` rounds them."""

    places: NDArray[np.intp]
    scores: NDArray[np.float64]


def best_places(scores: NDArray[np.float32], k: int) -> BestPlaces:
    """The places of the k best scores; ties in the order of their places."""
    count = len(scores)
    if k <= 0 or not count:
        return BestPlaces(np.empty(0, np.intp), np.empty(0))
    places = np.arange(count)
    if k < count:
        least = np.partition(scores, count - k)[count - k] - 10.0**-DIGITS  # what rounding makes a tie is not lost
        places = np.flatnonzero(scores >= least)
    rounded = np.asarray(np.round(scores[places].astype(np.float64), DIGITS) + 0.0, np.float64)
    order = np.lexsort((places, -rounded))[:k]
    return BestPlaces(places[order], rounded[order])
