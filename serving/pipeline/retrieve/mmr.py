"""Prefers hits that say something new: maximal marginal relevance."""

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np
from pydantic import Field

from serving.pipeline.parts import Parts
from serving.pipeline.registry import Params as PlugInParams
from serving.pipeline.retrieve.minmax import minmax
from serving.pipeline.types import Hit, Query


class MmrReranker:
    """Picks one hit after another by its relevance and by how unlike it is to those already picked."""

    version: ClassVar[str] = "1"

    class Params(PlugInParams):
        """The balance of relevance and novelty."""

        relevance: float = Field(default=0.7, ge=0.0, le=1.0, description="1: the order as it came; 0: only novelty after the first")

    def __init__(self, params: Params, parts: Parts) -> None:
        self._params = params
        self._store = parts.store

    async def rerank(self, query: Query, hits: Sequence[Hit], k: int) -> list[Hit]:
        """The k picked; scores are relevance (min–max of the search's scores) and novelty (1 − cosine), by weight."""
        vectors = await self._store.vectors([hit.chunk.id for hit in hits])
        if not vectors:
            return list(hits[:k])
        unknown = np.zeros_like(next(iter(vectors.values())))  # like nothing else, and so new
        # float64: the products are summed the same way wherever the library's float32 kernels differ
        matrix = np.stack([vectors.get(hit.chunk.id, unknown) for hit in hits]).astype(np.float64)
        lengths = np.linalg.norm(matrix, axis=1, keepdims=True)
        matrix /= np.where(lengths == 0, 1, lengths)
        share = self._params.relevance
        relevance = share * np.array(minmax([hit.score for hit in hits]))
        nearest = np.zeros(len(hits))  # cosine to the nearest hit picked so far
        remaining = list(range(len(hits)))
        selected: list[Hit] = []
        while remaining and len(selected) < k:
            scores = {place: float(relevance[place] + (1 - share) * (1 - nearest[place])) for place in remaining}
            best = min(remaining, key=lambda place: (-round(scores[place], 9), place))  # rounding: equal is equal on every machine
            remaining.remove(best)
            selected.append(replace(hits[best], score=scores[best]))
            nearest = np.maximum(nearest, matrix @ matrix[best])
        return selected
