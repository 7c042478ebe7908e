"""A segment: the rows of some added documents, as one object that never changes.

All rows of a segment were made by one index configuration; its header names the embedding model and the versions of that and
of the detector that scored the chunks.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from serving.pipeline.errors import IntegrityError
from serving.pipeline.index.base import Filter, ScoredChunk, StoredRow, Vectors
from serving.pipeline.index.context import Context, indexed_text
from serving.pipeline.index.resident.access import AdmittedRows, packed_access
from serving.pipeline.index.resident.chunks import packed_chunks
from serving.pipeline.index.resident.keywords import K1, NAME, B, CountedTexts
from serving.pipeline.index.resident.mapped import MappedArrays, arrays_as_bytes, arrays_of_bytes
from serving.pipeline.index.resident.packed import Rows, RowsByText
from serving.pipeline.index.resident.rows import SearchedRows
from serving.pipeline.index.shingles import new_shingles

FORMAT = 1
SMALLEST = float(np.finfo(np.float32).tiny)  # above 0: a row that has any of the words

Scores = NDArray[np.float32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class SegmentRecipe:
    """What every row of a segment was made by."""

    index: str  # digest of the index configuration without its corpus
    embedder: str
    embedder_version: str
    detector_version: str
    context: Context
    stop_words: str

    def header(self) -> dict[str, Any]:
        """As a segment's header has it."""
        return {"format": FORMAT, **{name: getattr(self, name) for name in self.__slots__}}


@dataclass(frozen=True, slots=True)
class IndexedDocument:
    """One version of a document that has rows."""

    id: str
    content: str  # the digest of all that its rows depend on
    chunks: int


def pack_segment(recipe: SegmentRecipe, documents: Sequence[IndexedDocument], rows: Sequence[StoredRow]) -> bytes:
    """The bytes of a segment."""
    rows = sorted(rows, key=lambda row: row.chunk.id)
    chunks = [row.chunk for row in rows]
    vectors = np.stack([np.asarray(row.vector, np.float32) for row in rows])
    shingles = [new_shingles(chunk.text) for chunk in chunks]
    counted = CountedTexts.of([row.text for row in rows], "keep" if recipe.stop_words == "keep" else "drop")
    header = recipe.header() | {"documents": [[one.id, one.content, one.chunks] for one in documents]}
    arrays = {
        "vectors": vectors,
        "lengths": np.linalg.norm(vectors.astype(np.float64), axis=1).astype(np.float32),
        **counted.lists(),
        f"{NAME}.times": counted.times.astype(np.float32),
        f"{NAME}.lengths": counted.lengths.astype(np.float32),
        **packed_access(chunks),
        **packed_chunks(chunks),
        "shingles": np.concatenate(shingles),
        "shingles.ends": np.cumsum([len(one) for one in shingles], dtype=np.uint64),
    }
    return arrays_as_bytes(header, arrays)


class Segment(SearchedRows):
    """A segment in memory."""

    def __init__(self, name: str, arrays: MappedArrays) -> None:
        super().__init__(arrays)
        self.name = name
        self.arrays = arrays
        self.documents = tuple(IndexedDocument(*one) for one in arrays.header["documents"])
        self._rows_by_document = RowsByText(arrays, "documents")
        words = RowsByText(arrays, NAME)
        self._of_mean_length: tuple[float, Scores] = (-1.0, np.empty(0, np.float32))
        self._spans = {words.texts[number]: words.span(number) for number in range(len(words.texts))}
        self._word_rows, self._times, self._text_lengths = (arrays[f"{NAME}.{one}"] for one in ("rows", "times", "lengths"))

    @classmethod
    def of(cls, name: str, data: bytes, recipe: SegmentRecipe) -> Self:
        """The segment of bytes, which are those that were written and of this recipe, or an `IntegrityError`."""
        arrays = arrays_of_bytes(data)
        if arrays is None:
            raise IntegrityError(f"The segment {name} of added documents is not what was written. Remove it: it is made anew.")
        wrong = {key for key, value in recipe.header().items() if arrays.header.get(key) != value}
        if wrong:
            raise IntegrityError(f"The segment {name} of added documents is of another {', '.join(sorted(wrong))}. Remove it.")
        return cls(name, arrays)

    def __len__(self) -> int:
        return len(self.chunks)

    @cached_property
    def total_length(self) -> float:
        """Words in all texts."""
        return float(self._text_lengths.sum())

    def without(self, ids: Iterable[str]) -> Mask | None:
        """Which rows are those of other documents; None: all of them are."""
        mask: Mask = np.ones(len(self), np.bool_)
        for ident in ids:
            mask[self._rows_by_document.rows(ident)] = False
        return None if mask.all() else mask

    def rows_with(self, word: str, live: Mask | None) -> int:
        """How many live rows have a word."""
        span = self._spans.get(word)
        if span is None:
            return 0
        return span.stop - span.start if live is None else int(live[self._word_rows[span]].sum())

    def keyword_scores(self, worth: Mapping[str, float], mean_length: float) -> Scores | None:
        """BM25 of each row: `worth` is a word's rarity times how often it is asked for; None where no row has any of the words."""
        scores: Scores | None = None
        saturated = self._saturated(mean_length)
        for word, weight in worth.items():
            span = self._spans.get(word)
            if span is None:
                continue
            if scores is None:
                scores = np.zeros(len(self), np.float32)
            scores[self._word_rows[span]] += saturated[span] * np.float32(weight)
        return scores

    def _saturated(self, mean_length: float) -> Scores:
        """What BM25 makes of each word's times in each row; worked out once for a mean length, which is that of a proven index."""
        known, saturated = self._of_mean_length
        if known != mean_length:
            penalty = K1 * (1 - B + B * self._text_lengths[self._word_rows] / max(mean_length, 1e-9))
            saturated = np.asarray((K1 + 1) * self._times / (self._times + penalty), np.float32)
            self._of_mean_length = (mean_length, saturated)
        return saturated

    def stored_rows(self, live: Mask | None = None) -> Iterator[StoredRow]:
        """Its rows, as they were put in."""
        return map(self._stored_row, range(len(self)) if live is None else np.flatnonzero(live).tolist())

    def rows_of(self, document_id: str) -> Iterator[StoredRow]:
        """The rows of a document, whichever version of it this holds."""
        return map(self._stored_row, self._rows_by_document.rows(document_id).tolist())

    def _stored_row(self, row: int) -> StoredRow:
        context: Context = self.arrays.header["context"]
        chunk = self.chunks.chunk(row)
        return StoredRow.of(chunk, indexed_text(chunk, context), np.array(self.vectors[row]))


class LiveSegment:
    """A segment as one view sees it: rows of documents that were deleted or replaced since are not there."""

    def __init__(self, segment: Segment, live: Mask | None) -> None:
        self.segment = segment
        self.live = live
        self.count = len(segment) if live is None else int(live.sum())
        self._access = AdmittedRows(segment.arrays, len(segment), live)

    def rows(self, where: Filter) -> Rows | None:
        """The rows that a filter admits; None for all of them."""
        return self._access.rows(where)

    def row(self, chunk_id: str) -> int | None:
        """The live row of a chunk."""
        row = self.segment.chunks.row(chunk_id)
        return row if row is not None and (self.live is None or bool(self.live[row])) else None

    def nearest(self, unit: Vectors, k: int, where: Filter, least: float) -> list[ScoredChunk]:
        """The k nearest by cosine similarity, of those that are at least so near."""
        rows = self.rows(where)
        return self._best(self.segment.cosines(unit, rows), rows, k, least)

    def matching(self, worth: Mapping[str, float], mean_length: float, k: int, where: Filter, least: float) -> list[ScoredChunk]:
        """The k best by BM25, of those that score at least so much."""
        scores = self.segment.keyword_scores(worth, mean_length)
        if scores is None:
            return []
        rows = self.rows(where)
        return self._best(scores if rows is None else scores[rows], rows, k, max(least, SMALLEST))

    def _best(self, scores: Scores, rows: Rows | None, k: int, least: float) -> list[ScoredChunk]:
        places = np.flatnonzero(scores >= least)
        return self.segment.best(scores[places], places if rows is None else rows[places], k) if len(places) else []
