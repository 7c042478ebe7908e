"""Searches by meaning: the nearest vectors."""

from typing import ClassVar

import numpy as np

from serving.pipeline.errors import ModelError
from serving.pipeline.index.base import Filter, ScoredChunk
from serving.pipeline.parts import Parts
from serving.pipeline.registry import Params as PlugInParams
from serving.pipeline.retrieve.query_text import search_text
from serving.pipeline.retrieve.ranked_hits import ranked_hits
from serving.pipeline.types import Hit, Query


class VectorSearcher:
    """Embeds the question once and asks the store for the nearest chunks by cosine."""

    version: ClassVar[str] = "1"

    class Params(PlugInParams):
        """Nothing to set."""

    def __init__(self, params: Params, parts: Parts) -> None:
        self._store = parts.store
        self._embeddings = parts.embeddings

    async def search(self, query: Query, k: int) -> list[Hit]:
        """The k nearest chunks that the query may see."""
        return ranked_hits("vector", await self.find(query, k))

    async def find(self, query: Query, k: int) -> list[ScoredChunk]:
        """The same as the store gives it; a question without meaning to embed finds nothing."""
        text = search_text(query)
        if not text:
            return []
        # LangChain's own method, since hosted models embed questions and passages differently.
        vector = np.asarray(await self._embeddings.aembed_query(text), dtype=np.float32)
        length = float(np.linalg.norm(vector))
        if not np.isfinite(length):  # a broken model: finding nothing would read as a refusal, and be scored
            raise ModelError(f"The embedding model {type(self._embeddings).__name__} gave a vector that is not finite.")
        if length == 0.0:  # stores answer such a vector with nothing, or with chance
            return []
        return await self._store.search_vector(vector / np.float32(length), k, Filter.of(query))
