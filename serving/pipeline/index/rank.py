"""Ranking of search results: by score, ties by chunk id."""

from collections.abc import Iterable

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
