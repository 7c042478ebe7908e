"""Searches by meaning and by words at once."""

import asyncio
from typing import ClassVar, Literal

from pydantic import Field

from serving.pipeline.parts import Parts
from serving.pipeline.registry import Params as PlugInParams
from serving.pipeline.retrieve.keyword import KeywordSearcher
from serving.pipeline.retrieve.vector import QuestionPrecision, VectorSearcher
from serving.pipeline.types import Hit, Query


class HybridSearcher:
    """Runs both searches side by side and lets the fusion join their lists."""

    version: ClassVar[str] = "1"

    class Params(PlugInParams):
        """Both searchers'; how their lists are joined is the fusion's own section."""

        stop_words: Literal["drop", "keep"] = "drop"  # "what", "should", "the" of an English question, for the search by words
        precision: QuestionPrecision = Field(default="index", description="of a question's vector; index: as the passages'; int8: faster")

    def __init__(self, params: Params, parts: Parts) -> None:
        self._vector = VectorSearcher(VectorSearcher.Params(precision=params.precision), parts)
        self._keyword = KeywordSearcher(KeywordSearcher.Params(stop_words=params.stop_words), parts)
        self._fusion = parts.fusion

    async def search(self, query: Query, k: int) -> list[Hit]:
        """The k best of both lists, each k long."""
        vector_hits, keyword_hits = await asyncio.gather(self._vector.find(query, k), self._keyword.find(query, k))
        return self._fusion.join({"vector": vector_hits, "keyword": keyword_hits}, k)
