"""Lists of several searchers, chunk by chunk."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from serving.pipeline.index.base import ScoredChunk
from serving.pipeline.types import Chunk, Hit, SourceRank

Scores = Mapping[str, Mapping[str, float]]  # searcher → chunk id → what its place there is worth


def joined(lists: Mapping[str, Sequence[ScoredChunk]], worth: Scores, k: int) -> list[Hit]:
    """The k chunks worth most in all lists together; equal worth goes by chunk id."""
    chunks: dict[str, Chunk] = {}
    sources: dict[str, dict[str, SourceRank]] = {}
    totals: dict[str, float] = {}
    for name in sorted(lists):  # a fixed order: sums of floats depend on it
        for rank, found in enumerate(lists[name], start=1):
            chunk_id = found.chunk.id
            chunks.setdefault(chunk_id, found.chunk)
            sources.setdefault(chunk_id, {})[name] = SourceRank(rank, found.score)
            totals[chunk_id] = totals.get(chunk_id, 0.0) + worth[name][chunk_id]
    best = sorted(totals, key=lambda chunk_id: (-totals[chunk_id], chunk_id))[:k]
    return [
        Hit(chunks[chunk_id], totals[chunk_id], rank, MappingProxyType(sources[chunk_id])) for rank, chunk_id in enumerate(best, start=1)
    ]
