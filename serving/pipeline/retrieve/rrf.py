"""Joins lists by rank alone."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from pydantic import Field

from serving.pipeline.index.base import ScoredChunk
from serving.pipeline.parts import Parts
from serving.pipeline.registry import Params as PlugInParams
from serving.pipeline.retrieve.fuse import fuse
from serving.pipeline.types import Hit


class ReciprocalRankFusion:
    """A chunk is worth 1/(k + rank) in each list, times the list's share."""

    version: ClassVar[str] = "1"

    class Params(PlugInParams):
        """How soon ranks stop mattering, and which list counts more."""

        k: int = Field(default=60, ge=1, le=1000, description="the larger, the less the first ranks stand out")
        weight: float = Field(default=0.5, ge=0.0, le=1.0, description="share of the vector list; .5 is plain RRF")

    def __init__(self, params: Params, parts: Parts) -> None:
        self._params = params

    def join(self, lists: Mapping[str, Sequence[ScoredChunk]], k: int) -> list[Hit]:
        """The k best; scores are those of plain RRF when the lists count the same."""
        constant, weight = self._params.k, self._params.weight
        weights = {name: 2 * (weight if name == "vector" else 1 - weight) for name in lists}
        scores = {
            name: {scored.chunk.id: weights[name] / (constant + rank) for rank, scored in enumerate(ranked, start=1)}
            for name, ranked in lists.items()
        }
        return fuse(lists, scores, k)
