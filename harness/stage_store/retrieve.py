"""A retriever that remembers: the same question over the same index by the same settings is searched once."""

import time
from dataclasses import dataclass
from typing import Any

from harness.stage_store.base import StageStore, key_of, packed, unpacked
from harness.stage_store.chunks import CachedChunks
from serving.pipeline.codec import Codec
from serving.pipeline.pipeline import PassageRetriever
from serving.pipeline.retrieve.retriever import RetrievalResult
from serving.pipeline.types import Hit, Query, SourceRank, Usage

STAGE = "retrieve"
_USAGE = Codec(Usage)


@dataclass(frozen=True, slots=True)
class CachedRetriever:
    """Searches only what was never searched; chunks are kept once, however often they are found."""

    inner: PassageRetriever
    stages: StageStore
    chunks: CachedChunks
    config_digest: str  # of the index and retrieve sections, the code behind them and the corpus

    async def retrieve(self, query: Query) -> RetrievalResult:
        """The passages for a query."""
        key = key_of(self.config_digest, _asked(query))
        known = self.stages.get(STAGE, key)
        if known is not None and (kept := self._unpack(unpacked(known))) is not None:
            return kept
        begin = time.perf_counter()
        found = await self.inner.retrieve(query)
        took = round((time.perf_counter() - begin) * 1000, 3)
        self._keep(key, found, took)
        return found

    def _keep(self, key: str, found: RetrievalResult, took_ms: float) -> None:
        names = self.chunks.keep([hit.chunk for hit in found.hits])
        hits = [
            [name, hit.score, {source: [one.rank, one.score] for source, one in hit.sources.items()}]
            for name, hit in zip(names, found.hits, strict=True)
        ]
        usage = [_USAGE.dump(use) for use in found.usage]
        self.stages.put(STAGE, key, packed({"hits": hits, "detail": dict(found.detail), "ms": took_ms, "usage": usage}))

    def _unpack(self, value: dict[str, Any]) -> RetrievalResult | None:
        """The passages as they were found; `None` when a chunk of theirs was forgotten."""
        chunks = self.chunks.find([name for name, _, _ in value["hits"]])
        if chunks is None:
            return None
        hits = [
            Hit(chunk, score, rank, {source: SourceRank(*one) for source, one in sources.items()})
            for rank, (chunk, (_, score, sources)) in enumerate(zip(chunks, value["hits"], strict=True), start=1)
        ]
        usage = tuple(_USAGE.value(use) for use in value.get("usage", ()))
        return RetrievalResult(tuple(hits), value["detail"], kept_ms=value["ms"], usage=usage)


def _asked(query: Query) -> list[Any]:
    """All of a query that decides what is found; not its id, and not who asks but what they may see."""
    who = query.principal
    domains = None if who.domains is None else sorted(who.domains)
    return [query.text, who.tenant, sorted(who.groups), domains, list(query.domains), dict(query.metadata)]
