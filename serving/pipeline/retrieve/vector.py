"""Searches by meaning: the nearest vectors."""

from typing import ClassVar, Literal, Protocol, runtime_checkable

from langchain_core.embeddings import Embeddings
from pydantic import Field

from serving.pipeline.errors import ConfigError
from serving.pipeline.index.base import Filter, ScoredChunk
from serving.pipeline.models.question_vector import QuestionVectors
from serving.pipeline.parts import Parts
from serving.pipeline.registry import Params as PlugInParams
from serving.pipeline.retrieve.query_text import search_text
from serving.pipeline.retrieve.ranked_hits import ranked_hits
from serving.pipeline.types import Hit, Query

QuestionPrecision = Literal["index", "int8"]


@runtime_checkable
class HasPrecisions(Protocol):
    """An embedding model that can also be had in another precision."""

    def at_precision(self, precision: Literal["int8"]) -> Embeddings: ...


class VectorSearcher:
    """Embeds the question once and asks the store for the nearest chunks by cosine."""

    version: ClassVar[str] = "1"

    class Params(PlugInParams):
        """How the question is embedded."""

        precision: QuestionPrecision = Field(default="index", description="of a question's vector; index: as the passages'; int8: faster")

    def __init__(self, params: Params, parts: Parts) -> None:
        self._store = parts.store
        self._question = QuestionVectors(_at(params.precision, parts.embeddings))

    async def search(self, query: Query, k: int) -> list[Hit]:
        """The k nearest chunks that the query may see."""
        return ranked_hits("vector", await self.find(query, k))

    async def find(self, query: Query, k: int) -> list[ScoredChunk]:
        """The same as the store gives it; a question without meaning to embed finds nothing."""
        vector = await self._question.vector(search_text(query))
        return [] if vector is None else await self._store.search_vector(vector, k, Filter.of(query))


def _at(precision: QuestionPrecision, embeddings: Embeddings) -> Embeddings:
    """The model that embeds questions."""
    if precision == "index":
        return embeddings
    if not isinstance(embeddings, HasPrecisions):
        raise ConfigError(
            f"retrieve.search.precision is {precision!r}, and {type(embeddings).__name__} has one precision only. "
            "Set index.embedder.name to 'local:minilm', or leave the precision out."
        )
    return embeddings.at_precision(precision)
