"""The results of one searcher as ranked hits."""

from collections.abc import Sequence
from types import MappingProxyType

from serving.pipeline.index.base import ScoredChunk
from serving.pipeline.types import Hit, SourceRank


def ranked_hits(source: str, scored_chunks: Sequence[ScoredChunk]) -> list[Hit]:
    """Hits in the order and with the scores of the searcher."""
    return [
        Hit(scored.chunk, scored.score, rank, MappingProxyType({source: SourceRank(rank, scored.score)}))
        for rank, scored in enumerate(scored_chunks, start=1)
    ]
