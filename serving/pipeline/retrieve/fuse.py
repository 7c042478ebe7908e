"""Adds up the scores of several searchers, chunk by chunk."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from serving.pipeline.index.base import ScoredChunk
from serving.pipeline.types import Chunk, Hit, SourceRank

ScoresBySearcher = Mapping[str, Mapping[str, float]]  # searcher → chunk id → score


def fuse(lists: Mapping[str, Sequence[ScoredChunk]], scores: ScoresBySearcher, k: int) -> list[Hit]:
    """The k chunks with the highest total score; ties go by chunk id."""
    chunks: dict[str, Chunk] = {}
    sources: dict[str, dict[str, SourceRank]] = {}
    totals: dict[str, float] = {}
    for name in sorted(lists):  # a fixed order: sums of floats depend on it
        for rank, scored in enumerate(lists[name], start=1):
            chunk_id = scored.chunk.id
            chunks.setdefault(chunk_id, scored.chunk)
            sources.setdefault(chunk_id, {})[name] = SourceRank(rank, scored.score)
            totals[chunk_id] = totals.get(chunk_id, 0.0) + scores[name][chunk_id]
    best = sorted(totals, key=lambda chunk_id: (-totals[chunk_id], chunk_id))[:k]
    return [
        Hit(chunks[chunk_id], totals[chunk_id], rank, MappingProxyType(sources[chunk_id])) for rank, chunk_id in enumerate(best, start=1)
    ]
