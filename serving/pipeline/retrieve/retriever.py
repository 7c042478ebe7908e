"""Retrieval: from a query to ranked passages."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from serving.pipeline.config import RetrieveConfig
from serving.pipeline.index.base import Filter, Store
from serving.pipeline.index.shingles import KeepsShingles, Shingles, shingles_of
from serving.pipeline.retrieve.base import Billed, Narrowing, Reranker, Searcher
from serving.pipeline.retrieve.duplicates import without_repeats
from serving.pipeline.retrieve.neighbours import add_neighbours
from serving.pipeline.retrieve.query_text import search_text
from serving.pipeline.types import Chunk, Hit, Query, Span, Usage

_NOTHING: Mapping[str, int] = MappingProxyType({"candidates": 0, "duplicates": 0, "neighbours": 0})


@dataclass(frozen=True, slots=True)
class RetrievalResult:
    """Passages, best first and ranked from 1, with counts of candidates, duplicates and neighbours."""

    hits: tuple[Hit, ...] = ()
    detail: Mapping[str, int] = field(default_factory=lambda: _NOTHING)
    kept_ms: float | None = None  # of a cached result: how long the original retrieval took
    usage: tuple[Usage, ...] = ()  # of hosted models: the question's vector, the reranking
    ranking: tuple[Span, ...] = ()  # before the cut at top_k and without neighbours; only of `with_ranking`


class Retriever:
    """Search, drop repeats, rerank, cut to top_k, add neighbours."""

    def __init__(
        self,
        config: RetrieveConfig,
        *,
        searcher: Searcher,
        reranker: Reranker,
        store: Store,
        narrowing: Narrowing | None = None,  # None: looks wherever the query may
        embedding: Callable[[str], Usage] | None = None,  # what a question's vector costs, where a hosted model makes it
    ) -> None:
        self._config = config
        self._searcher = searcher
        self._reranker = reranker
        self._store = store
        self._narrowing = narrowing
        self._shingles = store.shingles if isinstance(store, KeepsShingles) else _shingles_of_text
        self._embedding_usage = embedding
        self._ranked = 0

    def with_ranking(self, depth: int) -> "Retriever":
        """The same retriever, whose results also hold the first `depth` places of the ranking, beyond `top_k`; it fetches no more hits."""
        ranked = copy.copy(self)
        ranked._ranked = depth
        return ranked

    async def retrieve(self, query: Query) -> RetrievalResult:
        """The passages for a query; a blank one has none."""
        if not search_text(query):
            return RetrievalResult()
        config = self._config
        asked, query = query, await self._narrowing.narrow(query) if self._narrowing else query
        candidates = await self._searcher.search(query, max(config.candidates, config.top_k))
        distinct = without_repeats(candidates, config.duplicate_similarity, self._shingles)
        best = await self._reranker.rerank(query, distinct, max(config.top_k, self._ranked))
        expanded = await add_neighbours(best[: config.top_k], config.neighbours, self._store, Filter.of(query))
        hits = tuple(replace(hit, rank=rank) for rank, hit in enumerate(expanded.hits, start=1))
        counts = {"candidates": len(candidates), "duplicates": len(candidates) - len(distinct), "neighbours": expanded.added}
        counts |= {"narrowed": int(query.domains != asked.domains)} if self._narrowing else {}
        usage = (*([self._embedding_usage(search_text(query))] if self._embedding_usage else ()), *self._reranking_usage(distinct))
        ranking = tuple(hit.chunk.span for hit in best[: self._ranked])
        return RetrievalResult(hits, MappingProxyType(counts), usage=usage, ranking=ranking)

    def _reranking_usage(self, hits: Sequence[Hit]) -> tuple[Usage, ...]:
        return (self._reranker.usage(hits),) if hits and isinstance(self._reranker, Billed) else ()


def _shingles_of_text(chunk: Chunk) -> Shingles:
    return shingles_of(chunk.text)
