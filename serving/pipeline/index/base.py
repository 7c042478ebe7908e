"""The contracts of chunkers and stores."""

import json
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from serving.pipeline.tenant_groups import groups_let_in
from serving.pipeline.types import PUBLIC, Chunk, Document, Principal, Query

Vectors = NDArray[np.float32]
LAST_ORDINAL = 2**31 - 1  # no document has as many chunks


class Chunker(Protocol):
    """Cuts a document into chunks that are exact slices of its text, in order, numbered from 0."""

    def split(self, document: Document) -> Iterator[Chunk]: ...


@dataclass(frozen=True, slots=True)
class Filter:
    """What a search may return: applied inside the store, before ranking."""

    tenant: str = PUBLIC
    groups: frozenset[str] = frozenset()  # of the tenant
    domains: frozenset[str] | None = None  # None: every domain
    metadata: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    everything: bool = False  # True: no access rules, to learn whether a document exists; never for results that are shown
    without: frozenset[str] = frozenset()  # ids of documents that are left out for every caller

    @classmethod
    def of(cls, query: Query) -> "Filter":
        """What the query's principal may see, narrowed to where the query asks to look."""
        who: Principal = query.principal
        domains = who.domains
        if query.domains:
            wanted = frozenset(query.domains)
            domains = wanted if domains is None else wanted & domains
        return cls(who.tenant, who.groups, domains, query.metadata)

    def admits(self, chunk: Chunk) -> bool:
        """Whether a chunk may be returned; the definition that every store's own filter must agree with."""
        return chunk.document_id not in self.without and (
            self.everything
            or (
                chunk.tenant in (PUBLIC, self.tenant)
                and (not chunk.groups or not self.groups.isdisjoint(groups_let_in(chunk.groups, chunk.tenant, self.tenant)))
                and (self.domains is None or chunk.domain in self.domains)
                and all(chunk.metadata.get(key) == value for key, value in self.metadata.items())
            )
        )

    @property
    def groups_in_full(self) -> list[list[str]]:
        """The groups with their tenant: for keys of what was found for them, which no other tenant's groups share."""
        return [[self.tenant, group] for group in sorted(self.groups)]


@dataclass(frozen=True, slots=True)
class ScoredChunk:
    """A chunk a store found, with the score of that search (higher is better)."""

    chunk: Chunk
    score: float


@dataclass(frozen=True, slots=True, eq=False)
class StoredRow:
    """One chunk as a store holds it, with its vector and every other column that a search or an access filter reads."""

    chunk: Chunk
    text: str  # what full-text search reads
    vector: Vectors
    open: bool  # the columns that LanceDB's access filter reads beside tenant and groups: true where there are no groups,
    facts: tuple[str, ...]  # and the metadata as entries

    @classmethod
    def of(cls, chunk: Chunk, text: str, vector: Vectors) -> Self:
        """The row of a chunk, its derived columns as they should be."""
        return cls(chunk, text, vector, not chunk.groups, tuple(metadata_entries(chunk.metadata)))


def metadata_entries(metadata: Mapping[str, str]) -> list[str]:
    """Each metadata entry as one unambiguous string."""
    return [json.dumps([key, value], ensure_ascii=False) for key, value in sorted(metadata.items())]


class Store(Protocol):
    """Chunks with their vectors and words, searchable both ways.

    Ties are broken by chunk id, so the same data gives the same order everywhere.
    """

    async def add(self, chunks: Sequence[Chunk], texts: Sequence[str], vectors: Vectors) -> None:
        """Append a batch; `texts` are what full-text search reads (context and chunk)."""
        ...

    async def finish(self) -> str:
        """Build the indexes after the last batch; returns the store's own version of the data."""
        ...

    async def search_vector(self, vector: Vectors, k: int, where: Filter) -> list[ScoredChunk]:
        """The k nearest by cosine similarity."""
        ...

    async def search_text(self, text: str, k: int, where: Filter) -> list[ScoredChunk]:
        """The k best by BM25; any text is a query, none is a syntax error."""
        ...

    async def slice(self, document_id: str, first: int, last: int, where: Filter) -> list[Chunk]:
        """A document's chunks with ordinals first..last, in order."""
        ...

    async def vectors(self, ids: Iterable[str]) -> dict[str, Vectors]:
        """The stored vectors of chunks."""
        ...

    async def count(self) -> int:
        """How many chunks there are."""
        ...

    def rows(self, limit: int | None = None) -> AsyncIterator[Sequence[StoredRow]]:
        """Every row as it is stored, or the first few, batch by batch in any order; read from where the data lies."""
        ...

    async def data_version(self) -> str:
        """The store's own version of the data that it reads; what `finish` returned, unless somebody changed the data."""
        ...


@runtime_checkable
class Releasable(Protocol):
    """A store that can release its memory; the next use loads it again."""

    def close(self) -> None: ...


@runtime_checkable
class HealthChecked(Protocol):
    """A store with a health check of its own."""

    async def probe(self) -> None:
        """Raise when questions could not be answered any more."""
        ...
