"""Searches by words: BM25."""

from typing import ClassVar, Literal

from serving.pipeline.index.base import Filter, ScoredChunk
from serving.pipeline.parts import Parts
from serving.pipeline.registry import Params as PlugInParams
from serving.pipeline.retrieve.query_text import search_text
from serving.pipeline.retrieve.ranked_hits import ranked_hits
from serving.pipeline.text.stopwords import without_stop_words
from serving.pipeline.types import Hit, Query


class KeywordSearcher:
    """Asks the store for the chunks that share the question's rarest words."""

    embeds: ClassVar[bool] = False  # asks no embedding model
    version: ClassVar[str] = "1"

    class Params(PlugInParams):
        """What of the question is looked up."""

        stop_words: Literal["drop", "keep"] = "drop"  # "what", "should", "the" of an English question

    def __init__(self, params: Params, parts: Parts) -> None:
        self._params = params
        self._store = parts.store

    async def search(self, query: Query, k: int) -> list[Hit]:
        """The k best chunks that the query may see."""
        return ranked_hits("keyword", await self.find(query, k))

    async def find(self, query: Query, k: int) -> list[ScoredChunk]:
        """The same as the store gives it; a blank question finds nothing."""
        text = search_text(query)
        if self._params.stop_words == "drop":
            text = without_stop_words(text)
        return await self._store.search_text(text, k, Filter.of(query)) if text else []
