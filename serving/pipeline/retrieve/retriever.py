"""From a question to the passages an answer may stand on."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from serving.pipeline.config import RetrieveConfig
from serving.pipeline.index.base import Filter, Store
from serving.pipeline.retrieve.asked import search_text
from serving.pipeline.retrieve.base import Billed, Reranker, Searcher
from serving.pipeline.retrieve.duplicates import without_repeats
from serving.pipeline.retrieve.neighbours import widen
from serving.pipeline.types import Hit, Query, Usage

_NOTHING: Mapping[str, int] = MappingProxyType({"candidates": 0, "duplicates": 0, "neighbours": 0})


@dataclass(frozen=True, slots=True)
class Retrieved:
    """Passages, best first and ranked from 1, and how many were found, dropped and added on the way."""

    hits: tuple[Hit, ...] = ()
    detail: Mapping[str, int] = field(default_factory=lambda: _NOTHING)
    kept_ms: float | None = None  # where it was computed before and kept: how long that took
    usage: tuple[Usage, ...] = ()  # of hosted models: the question's vector, the reranking


class Retriever:
    """Search, drop repeats, rerank, cut, widen."""

    def __init__(
        self,
        config: RetrieveConfig,
        *,
        searcher: Searcher,
        reranker: Reranker,
        store: Store,
        embedding: Callable[[str], Usage] | None = None,  # what a question's vector costs, where a hosted model makes it
    ) -> None:
        self._config = config
        self._searcher = searcher
        self._reranker = reranker
        self._store = store
        self._embedding = embedding

    async def retrieve(self, query: Query) -> Retrieved:
        """The passages for a query; a blank one has none."""
        if not search_text(query):
            return Retrieved()
        config = self._config
        candidates = await self._searcher.search(query, max(config.candidates, config.top_k))
        distinct = without_repeats(candidates, config.duplicate_similarity)
        best = await self._reranker.rerank(query, distinct, config.top_k)
        widened = await widen(best[: config.top_k], config.neighbours, self._store, Filter.of(query))
        hits = tuple(replace(hit, rank=rank) for rank, hit in enumerate(widened.hits, start=1))
        counts = {"candidates": len(candidates), "duplicates": len(candidates) - len(distinct), "neighbours": widened.added}
        usage = (*([self._embedding(search_text(query))] if self._embedding else ()), *self._reranked(distinct))
        return Retrieved(hits, MappingProxyType(counts), usage=usage)

    def _reranked(self, hits: Sequence[Hit]) -> tuple[Usage, ...]:
        return (self._reranker.usage(hits),) if hits and isinstance(self._reranker, Billed) else ()
