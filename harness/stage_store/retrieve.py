"""A retriever with stored results: the same query over the same index with the same settings is searched once."""

import time
from dataclasses import dataclass, replace
from typing import Any

from harness.stage_store.base import StageStore, key_of, pack, unpack
from harness.stage_store.chunks import CachedChunks
from harness.stage_store.reuse import noting_reuse
from serving.pipeline.codec import Codec
from serving.pipeline.index.base import Filter
from serving.pipeline.models.prices import PACKAGE, PriceList
from serving.pipeline.pipeline import PassageRetriever
from serving.pipeline.retrieve.retriever import RetrievalResult
from serving.pipeline.types import Hit, Query, SourceRank, Span, Usage

STAGE = "retrieve"
_USAGE = Codec(Usage)


@dataclass(frozen=True, slots=True)
class CachedRetriever:
    """Retrieves from the stage store, else searches."""

    inner: PassageRetriever
    store: StageStore
    chunks: CachedChunks
    config_digest: str  # of the index and retrieve sections, the code behind them and the corpus
    ranked: int  # how many places of the ranking the results have
    prices: PriceList = PACKAGE

    async def retrieve(self, query: Query) -> RetrievalResult:
        """The passages for a query."""
        key = key_of(self.config_digest, self.ranked, _query_key(query))
        stored = self.store.get(STAGE, key)
        if stored is not None and (cached := self._unpack(unpack(stored))) is not None:
            return cached
        start_s = time.perf_counter()
        with noting_reuse() as reused:
            retrieved = await self.inner.retrieve(query)
        elapsed_ms = round((time.perf_counter() - start_s) * 1000, 3)
        self._put(key, retrieved, elapsed_ms)
        return replace(retrieved, detail={**retrieved.detail, "kept_parts": len(reused)}) if reused else retrieved

    def _put(self, key: str, retrieved: RetrievalResult, elapsed_ms: float) -> None:
        names = self.chunks.store_all([hit.chunk for hit in retrieved.hits])
        hits = [
            [name, hit.score, {source: [source_rank.rank, source_rank.score] for source, source_rank in hit.sources.items()}]
            for name, hit in zip(names, retrieved.hits, strict=True)
        ]
        usage = [_USAGE.dump(use) for use in retrieved.usage]
        ranking = [[span.document_id, span.start, span.end] for span in retrieved.ranking]
        value = {"hits": hits, "detail": dict(retrieved.detail), "ms": elapsed_ms, "usage": usage, "ranking": ranking}
        self.store.put(STAGE, key, pack(value))

    def _unpack(self, value: dict[str, Any]) -> RetrievalResult | None:
        """The stored passages; `None` when one of their chunks is not stored any more."""
        chunks = self.chunks.find([name for name, _, _ in value["hits"]])
        if chunks is None:
            return None
        hits = [
            Hit(chunk, score, rank, {source: SourceRank(*source_rank) for source, source_rank in sources.items()})
            for rank, (chunk, (_, score, sources)) in enumerate(zip(chunks, value["hits"], strict=True), start=1)
        ]
        usage = tuple(self.prices.reprice(_USAGE.value(use)) for use in value.get("usage", ()))
        ranking = tuple(Span(*place) for place in value["ranking"])
        return RetrievalResult(tuple(hits), value["detail"], kept_ms=value["ms"], usage=usage, ranking=ranking)


def _query_key(query: Query) -> list[Any]:
    """Everything of a query that decides its results: not its id, and of the principal only what it may read."""
    principal = query.principal
    domains = None if principal.domains is None else sorted(principal.domains)
    groups = Filter.of(query).groups_in_full
    return [query.text, principal.tenant, groups, domains, list(query.domains), dict(query.metadata)]
