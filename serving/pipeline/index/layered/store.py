"""Searches a proven index and the documents that were added to it as if they were one."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol, runtime_checkable

import numpy as np

from serving.pipeline.errors import StoreError
from serving.pipeline.index.base import LAST_ORDINAL, Filter, HealthChecked, Releasable, ScoredChunk, Store, StoredRow, Vectors
from serving.pipeline.index.checked_vectors import checked_vectors
from serving.pipeline.index.layered.view import PLAIN, LayeredView, view_of_query
from serving.pipeline.index.rank import DIGITS
from serving.pipeline.index.resident.keywords import K1, WordCounts, rarity_of
from serving.pipeline.index.resident.store import AT_ONCE
from serving.pipeline.index.resident.words import StopWords, counted_words
from serving.pipeline.index.shingles import KeepsShingles, Shingles, shingles_of
from serving.pipeline.types import Chunk

TYPICAL = (K1 + 1) * 2 / (2 + K1)  # what BM25 makes of a word that stands twice in a text of mean length, in units of its rarity


@runtime_checkable
class CountsWords(Protocol):
    """A store whose BM25 can be told how rare words are, so that its scores are comparable with those of rows elsewhere."""

    def counted_words(self, text: str) -> Mapping[str, int]: ...

    def word_counts(self, words: Iterable[str], without: frozenset[str]) -> WordCounts: ...

    async def search_text_by(self, text: str, k: int, where: Filter, rarity: Mapping[str, float]) -> list[ScoredChunk]: ...


class LayeredStore:
    """A store over another: what a view adds is found with it, and what a view hides is not, before anything is ranked.

    Cosines are what they would be in one index. So are BM25's word counts, over a store that tells its own; only the mean
    length of a text stays that of the proven index. Over another store, an added row is scored as if each word were as rare as the best
    score that this store gives it says. While nothing is added or hidden, every call goes straight to the store beneath.
    """

    def __init__(self, proven: Store, dimensions: int, stop_words: StopWords = "drop") -> None:
        self.proven = proven
        self._dimensions = dimensions
        self._stop_words: StopWords = stop_words
        self._view = PLAIN
        self._chunks_of: dict[str, int] = {}  # documents of the proven index

    @property
    def current(self) -> LayeredView:
        """What the next query will see."""
        return self._view

    @property
    def view(self) -> LayeredView:
        """What the query being answered sees."""
        return view_of_query(self, lambda: self._view)

    def show(self, view: LayeredView) -> None:
        """Swap another view in; queries keep the one they began with."""
        self._view = view

    async def proven_chunks(self, ids: Iterable[str]) -> dict[str, int]:
        """Those of these documents that the proven index has, and how many chunks each."""
        for ident in set(ids) - self._chunks_of.keys():
            self._chunks_of[ident] = len(await self.proven.slice(ident, 0, LAST_ORDINAL, Filter(everything=True)))
        return {ident: count for ident in ids if (count := self._chunks_of[ident])}

    async def add(self, chunks: Sequence[Chunk], texts: Sequence[str], vectors: Vectors) -> None:
        """Refused: the proven index never changes."""
        raise StoreError("A proven index takes no further chunks; documents are added beside it.")

    async def finish(self) -> str:
        """Refused, likewise."""
        raise StoreError("A proven index is finished; documents are added beside it.")

    async def search_vector(self, vector: Vectors, k: int, where: Filter) -> list[ScoredChunk]:
        """The k nearest by cosine similarity."""
        view = self.view
        if view.is_plain:
            return await self.proven.search_vector(vector, k, where)
        found = await self.proven.search_vector(vector, k, _less(where, view))
        query = checked_vectors(np.asarray(vector).reshape(1, -1), self._dimensions)[0]
        unit = query / np.linalg.norm(query)

        least = _least(found, k)

        def nearest() -> list[ScoredChunk]:
            return [hit for segment in view.segments for hit in segment.nearest(unit, k, where, least)]

        beside = await asyncio.to_thread(nearest) if view.added_chunks > AT_ONCE else nearest()
        return _merged(found, beside, k)

    async def search_text(self, text: str, k: int, where: Filter) -> list[ScoredChunk]:
        """The k best by BM25."""
        view = self.view
        if view.is_plain:
            return await self.proven.search_text(text, k, where)
        less = _less(where, view)
        if isinstance(self.proven, CountsWords):
            words = self.proven.counted_words(text)
            counts = self.proven.word_counts(words, view.hidden)
            total = counts.rows + view.added_chunks
            rarity = {word: rarity_of(total, counts.rows_with[word] + _rows_with(view, word)) for word in words}
            found = await self.proven.search_text_by(text, k, less, rarity)
            worth, mean_length = {word: times * rarity[word] for word, times in words.items()}, counts.mean_length
        else:
            found = await self.proven.search_text(text, k, less)
            worth, mean_length = await self._estimated(text, view), _mean_length(view)
        least = _least(found, k)
        beside = [hit for segment in view.segments for hit in segment.matching(worth, mean_length, k, where, least)]
        return _merged(found, beside, k)

    async def slice(self, document_id: str, first: int, last: int, where: Filter) -> list[Chunk]:
        """A document's chunks with ordinals first..last, in order."""
        view = self.view
        if not view.is_plain:
            for one in view.segments:
                rows = one.segment.chunks.rows_of(document_id, first, last)
                live = [row for row in rows if one.live is None or one.live[row]]
                if live:
                    return [chunk for chunk in map(one.segment.chunks.chunk, live) if where.admits(chunk)]
            if document_id in view.hidden:
                return []
        return await self.proven.slice(document_id, first, last, where)

    async def vectors(self, ids: Iterable[str]) -> dict[str, Vectors]:
        """The stored vectors of chunks; an unknown id has none."""
        view, wanted = self.view, set(ids)
        if view.is_plain:
            return await self.proven.vectors(wanted)
        found: dict[str, Vectors] = {}
        for chunk_id in wanted:
            for one in view.segments:
                row = one.row(chunk_id)
                if row is not None:
                    found[chunk_id] = np.array(one.segment.vectors[row])
        rest = await self.proven.vectors(wanted - found.keys())
        if view.hidden and rest:
            hidden = {
                chunk.id for ident in view.hidden for chunk in await self.proven.slice(ident, 0, LAST_ORDINAL, Filter(everything=True))
            }
            rest = {chunk_id: vector for chunk_id, vector in rest.items() if chunk_id not in hidden}
        return dict(sorted((rest | found).items()))

    async def count(self) -> int:
        """How many chunks there are."""
        view = self.view
        return await self.proven.count() - view.hidden_chunks + view.added_chunks

    async def rows(self, limit: int | None = None) -> AsyncIterator[Sequence[StoredRow]]:
        """Every row, or the first few."""
        view, left = self.view, limit
        async for batch in self.proven.rows(limit if not view.hidden else None):
            kept = [row for row in batch if row.chunk.document_id not in view.hidden][:left]
            left = None if left is None else left - len(kept)
            yield kept
            if left == 0:
                return
        for one in view.segments:
            kept = list(one.segment.stored_rows(one.live))[:left]
            left = None if left is None else left - len(kept)
            yield kept
            if left == 0:
                return

    async def data_version(self) -> str:
        """The version of the proven data, and of what was changed since."""
        view = self.view
        version = await self.proven.data_version()
        return f"{version}+{view.version}" if view.version else version

    async def probe(self) -> None:
        """Raise when the proven index could not answer."""
        if isinstance(self.proven, HealthChecked):
            await self.proven.probe()
            return
        async for rows in self.proven.rows(limit=1):
            if rows:
                return
        raise StoreError("The index gives no rows any more. Is its place still there?")

    def shingles(self, chunk: Chunk) -> Shingles:
        """The shingles of a chunk's text."""
        view = self.view
        for one in view.segments:
            row = one.row(chunk.id)
            if row is not None and one.segment.chunks.chunk(row).text == chunk.text:
                return one.segment.shingles(row)
        return self.proven.shingles(chunk) if isinstance(self.proven, KeepsShingles) else shingles_of(chunk.text)

    def close(self) -> None:
        """Let go of the memory that the proven index holds."""
        if isinstance(self.proven, Releasable):
            self.proven.close()

    async def _estimated(self, text: str, view: LayeredView) -> dict[str, float]:
        """What each word of a text is worth, by the best score that the proven store gives it alone."""
        worth: dict[str, float] = {}
        unknown = rarity_of(await self.proven.count() + view.added_chunks, 1)
        for word in counted_words(text, self._stop_words):
            if any(one.segment.rows_with(word, one.live) for one in view.segments):
                best = await self.proven.search_text(word, 1, Filter(everything=True))
                worth[word] = worth.get(word, 0.0) + (best[0].score / TYPICAL if best else unknown)
        return worth


def _least(found: Sequence[ScoredChunk], k: int) -> float:
    """The score below which no further chunk is among the k best; what rounding makes a tie is not lost."""
    return found[k - 1].score - 10.0**-DIGITS if 0 < k <= len(found) else -np.inf


def _merged(found: list[ScoredChunk], beside: list[ScoredChunk], k: int) -> list[ScoredChunk]:
    """Hits of both layers, whose scores are rounded already, in one order."""
    return sorted([*found, *beside], key=lambda hit: (-hit.score, hit.chunk.id))[: max(k, 0)] if beside else found


def _less(where: Filter, view: LayeredView) -> Filter:
    """A filter without what a view hides."""
    return replace(where, without=where.without | view.hidden) if view.hidden else where


def _rows_with(view: LayeredView, word: str) -> int:
    return sum(one.segment.rows_with(word, one.live) for one in view.segments)


def _mean_length(view: LayeredView) -> float:
    """Of the added texts."""
    rows = sum(len(one.segment) for one in view.segments)
    return sum(one.segment.total_length for one in view.segments) / max(rows, 1)
