"""What a searcher, a fusion and a reranker promise."""

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from serving.pipeline.index.base import ScoredChunk
from serving.pipeline.types import Hit, Query, Turn, Usage


class Rewriter(Protocol):
    """Writes a follow-up so that it stands alone. The turns are the last ones of the conversation, checked as questions are."""

    turns: int  # how many of them it reads; 0: none

    def leans(self, question: str) -> bool:
        """Whether a question has to be rewritten, as far as it shows by itself."""
        ...

    async def rewrite(self, question: str, turns: Sequence[Turn]) -> str:
        """The question as it stands alone: the same where it does."""
        ...


class Narrowing(Protocol):
    """Decides where a query is looked for, before anything is ranked; never beyond what it and its principal allow."""

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
        """What reranking these hits costs."""
        ...
