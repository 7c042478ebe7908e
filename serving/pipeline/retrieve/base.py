"""The contracts of rewriters, searchers, fusions and rerankers."""

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from serving.pipeline.index.base import ScoredChunk
from serving.pipeline.types import Hit, Query, Turn, Usage


class Rewriter(Protocol):
    """Rewrites a follow-up as a standalone question. The turns are the last ones of the conversation, checked by the input guard."""

    turns: int  # how many of them it reads; 0: none

    def leans(self, question: str) -> bool:
        """Whether the question's own form shows that it needs the conversation."""
        ...

    async def rewrite(self, question: str, turns: Sequence[Turn]) -> str:
        """The standalone question; the same text where nothing is missing."""
        ...


class Narrowing(Protocol):
    """Narrows where a query searches, before ranking; never beyond what the query and its principal allow."""

    async def narrow(self, query: Query) -> Query: ...


class Searcher(Protocol):
    """Finds candidates for a query, best first."""

    async def search(self, query: Query, k: int) -> list[Hit]: ...


class Fusion(Protocol):
    """Joins ranked lists, keyed by the searcher they came from, into one; best first."""

    def join(self, lists: Mapping[str, Sequence[ScoredChunk]], k: int) -> list[Hit]: ...


class Reranker(Protocol):
    """Puts hits into a better order; may return fewer than `k`, never others than it was given, for a larger `k` the same first."""

    async def rerank(self, query: Query, hits: Sequence[Hit], k: int) -> list[Hit]: ...


@runtime_checkable
class Billed(Protocol):
    """A reranker that is paid for."""

    def usage(self, hits: Sequence[Hit]) -> Usage:
        """The usage of reranking these hits."""
        ...
