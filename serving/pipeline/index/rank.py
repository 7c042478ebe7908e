"""The order of what a search found: by score, and by chunk id where scores are the same."""

from collections.abc import Iterable

from serving.pipeline.index.base import ScoredChunk

DIGITS = 6  # of a score that count: processors differ in the digits beyond


def ranked(found: Iterable[ScoredChunk]) -> list[ScoredChunk]:
    """Best first; scores are rounded so that every machine gives the same order."""
    rounded = (ScoredChunk(hit.chunk, round(float(hit.score), DIGITS) + 0.0) for hit in found)
    return sorted(rounded, key=lambda hit: (-hit.score, hit.chunk.id))


def cut_at(found: list[ScoredChunk], k: int, asked: int) -> list[ScoredChunk] | None:
    """The first `k` of the ranked best `asked`, or None if a tie with the last one may lie beyond what was asked for."""
    if len(found) < asked or (len(found) > k and found[-1].score < found[k - 1].score):
        return found[:k]
    return None
