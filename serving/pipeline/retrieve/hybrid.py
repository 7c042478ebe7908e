"""Searches by meaning and by words at once."""

import asyncio
from typing import ClassVar, Literal

from langchain_core.embeddings import Embeddings

from serving.pipeline.errors import ConfigError
from serving.pipeline.index.base import Store
from serving.pipeline.registry import Params as PlugInParams
from serving.pipeline.retrieve.base import Fusion
from serving.pipeline.retrieve.keyword import KeywordSearcher
from serving.pipeline.retrieve.vector import VectorSearcher
from serving.pipeline.types import Hit, Query


class HybridSearcher:
    """Runs both searches side by side and lets the fusion join their lists."""

    version: ClassVar[str] = "1"

    class Params(PlugInParams):
        """Both searchers'; how their lists are joined is the fusion's own section."""

        stop_words: Literal["drop", "keep"] = "drop"  # "what", "should", "the" of an English question, for the search by words

    def __init__(self, params: Params, *, store: Store, embeddings: Embeddings, fusion: Fusion | None = None) -> None:
        if fusion is None:
            raise ConfigError("Searcher 'hybrid' joins two lists and needs a fusion; set retrieve.fusion.")
        self._vector = VectorSearcher(VectorSearcher.Params(), store=store, embeddings=embeddings)
        self._keyword = KeywordSearcher(KeywordSearcher.Params(stop_words=params.stop_words), store=store)
        self._fusion = fusion

    async def search(self, query: Query, k: int) -> list[Hit]:
        """The k best of both lists, each k long."""
        near, worded = await asyncio.gather(self._vector.find(query, k), self._keyword.find(query, k))
        return self._fusion.join({"vector": near, "keyword": worded}, k)
