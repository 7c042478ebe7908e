"""One searcher's list as hits."""

from collections.abc import Sequence
from types import MappingProxyType

from serving.pipeline.index.base import ScoredChunk
from serving.pipeline.types import Hit, SourceRank


def single(source: str, found: Sequence[ScoredChunk]) -> list[Hit]:
    """The list in its own order and with its own scores."""
    return [
        Hit(one.chunk, one.score, rank, MappingProxyType({source: SourceRank(rank, one.score)})) for rank, one in enumerate(found, start=1)
    ]
