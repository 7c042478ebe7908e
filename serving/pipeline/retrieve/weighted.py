"""Joins lists by their scores."""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

from pydantic import Field

from serving.pipeline.index.base import ScoredChunk
from serving.pipeline.parts import Parts
from serving.pipeline.registry import Params as PlugInParams
from serving.pipeline.retrieve.fuse import fuse
from serving.pipeline.retrieve.minmax import minmax
from serving.pipeline.types import Hit


class WeightedFusion:
    """Normalises each list's scores to 0..1 and adds them by weight; a chunk missing from a list gets 0 there."""

    version: ClassVar[str] = "1"

    class Params(PlugInParams):
        """Which list counts more, and how scores are made comparable."""

        weight: float = Field(default=0.6, ge=0.0, le=1.0, description="share of the vector list")
        normalise: Literal["minmax"] = Field(default="minmax", description="how each list's scores come to one scale")

    def __init__(self, params: Params, parts: Parts) -> None:
        self._params = params

    def join(self, lists: Mapping[str, Sequence[ScoredChunk]], k: int) -> list[Hit]:
        """The k best; scores lie between 0 and 1."""
        weight = self._params.weight
        weights = {name: weight if name == "vector" else 1 - weight for name in lists}
        scores = {
            name: {
                scored.chunk.id: weights[name] * score
                for scored, score in zip(ranked, minmax([scored.score for scored in ranked]), strict=True)
            }
            for name, ranked in lists.items()
        }
        return fuse(lists, scores, k)
