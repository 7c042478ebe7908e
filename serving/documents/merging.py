"""Writes segments of added documents anew: small ones as one, and one without the rows of documents that are gone."""

from collections.abc import Callable
from itertools import accumulate

import numpy as np

from serving.documents.order import Version
from serving.documents.store import DocumentSet, DocumentStore
from serving.pipeline.index.base import StoredRow
from serving.pipeline.index.layered.additions import Additions
from serving.pipeline.index.layered.segment import IndexedDocument, Segment, pack_segment

ROWS = 2048  # from which a segment is large
MERGED = 4  # segments of about a size that become one
LARGEST = 16_384  # rows of a merged segment
REWRITE_S = 60.0  # between two large segments that are written anew because a document in them was deleted


def indexed_versions(additions: Additions) -> frozenset[Version]:
    """The versions of documents that are in segments."""
    return frozenset((one.id, one.content) for segment in additions.segments for one in segment.documents)


class SegmentMerging:
    """Keeps the segments few, and free of words that nobody wants; calls block, and whoever makes them holds the lease."""

    def __init__(self, documents: DocumentStore, additions: Additions, clock: Callable[[], float]) -> None:
        self._documents = documents
        self._additions = additions
        self._clock = clock
        self._rewritten_at = -REWRITE_S

    def due(self) -> list[Segment]:
        """Segments to be written anew as one: one with rows of documents that are gone, else some of about a size."""
        wanted = self._wanted_versions(self._documents.current)
        seen: set[Version] = set()
        tiers: dict[int, list[Segment]] = {}
        for segment in self._additions.segments:
            held = {(one.id, one.content) for one in segment.documents}
            if (not held <= wanted or held & seen) and (len(segment) < ROWS or self._clock() - self._rewritten_at >= REWRITE_S):
                return [segment]
            seen |= held
            tiers.setdefault(int(np.log2(len(segment))) // 2, []).append(segment)
        for tier in tiers.values():
            fitting = [segment for segment, rows in zip(tier, accumulate(map(len, tier)), strict=True) if rows <= LARGEST]
            if len(tier) >= MERGED and len(fitting) > 1:
                return fitting
        return []

    def tidy(self) -> None:
        """Merge segments and drop dead rows until nothing is left to do."""
        while chosen := self.due():
            wanted = self._wanted_versions(self._documents.refresh())
            before: set[Version] = set()
            for segment in self._additions.segments:
                if segment is chosen[0]:
                    break
                before |= {(one.id, one.content) for one in segment.documents}
            rows: list[StoredRow] = []
            kept: list[IndexedDocument] = []
            for segment in chosen:
                alive = [one for one in segment.documents if (one.id, one.content) in wanted and (one.id, one.content) not in before]
                before |= {(one.id, one.content) for one in alive}
                names = {one.id for one in alive}
                rows += segment.stored_rows(segment.without(one.id for one in segment.documents if one.id not in names))
                kept += alive
            if len(chosen) == 1 and len(chosen[0]) >= ROWS:
                self._rewritten_at = self._clock()
            data = pack_segment(self._additions.recipe, kept, rows) if rows else None
            self._additions.replace([segment.name for segment in chosen], data)

    def _wanted_versions(self, documents: DocumentSet) -> set[Version]:
        """The versions whose rows are kept: of each wanted document that one, or until it is indexed the last, whose vectors it may use."""
        held = {one.id: (one.id, one.content) for segment in self._additions.segments for one in segment.documents}
        wanted = {(record.id, record.content) for record in documents.live}
        waiting = {ident for ident, _ in wanted - indexed_versions(self._additions)}
        return wanted | {held[ident] for ident in waiting & held.keys()}
