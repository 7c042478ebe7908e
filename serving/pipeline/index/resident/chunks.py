"""The chunks of an index, each read from the file when it is asked for."""

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import numpy as np

from serving.pipeline.index.resident.mapped import Array, MappedArrays
from serving.pipeline.index.resident.packed import RowsByText, SortedTexts, Texts, packed_rows, packed_texts
from serving.pipeline.types import Chunk

CHUNKS_IN_MEMORY = 4096  # the last ones read
SHARED = ("document_id", "title", "domain", "source", "version", "tenant", "groups", "metadata")  # by the chunks of a document


class ChunkTable:
    """Chunks by row; rows are in the order of their ids."""

    def __init__(self, arrays: MappedArrays) -> None:
        self._ids, self._texts, self._headings = SortedTexts(arrays, "ids"), Texts(arrays, "texts"), Texts(arrays, "headings")
        self._shared_texts, self._shared_of = Texts(arrays, "shared"), arrays["shared_of"]
        self._documents = RowsByText(arrays, "documents")
        self._places, self._scores = arrays["places"], arrays["instruction_scores"]
        self.chunk = lru_cache(maxsize=CHUNKS_IN_MEMORY)(self._read)
        self.row = lru_cache(maxsize=CHUNKS_IN_MEMORY)(self._ids.find)  # of a chunk's id; None where it is not here
        self.rows_of = lru_cache(maxsize=CHUNKS_IN_MEMORY)(self._find_rows)  # of a document's chunks with ordinals first..last
        self._shared = lru_cache(maxsize=CHUNKS_IN_MEMORY)(self._read_shared)

    def __len__(self) -> int:
        return len(self._ids)

    def _find_rows(self, document_id: str, first: int, last: int) -> tuple[int, ...]:
        """Rows in the order of the ordinals."""
        rows = self._documents.rows(document_id)
        ordinals = self._places[rows, 2]
        return tuple(rows[(ordinals >= first) & (ordinals <= last)].tolist())

    def _read(self, row: int) -> Chunk:
        start, end, ordinal = self._places[row].tolist()
        return Chunk(
            id=self._ids[row],
            start=start,
            end=end,
            ordinal=ordinal,
            text=self._texts[row],
            heading=self._headings[row],
            instruction_score=float(self._scores[row]),
            **self._shared(int(self._shared_of[row])),
        )

    def _read_shared(self, number: int) -> Mapping[str, Any]:
        values = dict(zip(SHARED, json.loads(self._shared_texts[number]), strict=True))
        return values | {"groups": tuple(values["groups"]), "metadata": MappingProxyType(values["metadata"])}


def packed_chunks(chunks: Sequence[Chunk]) -> dict[str, Array]:
    """The arrays of `ChunkTable`; the chunks in the order of their ids."""
    numbers: dict[str, int] = {}
    documents: dict[str, list[int]] = {}
    shared_of = []
    for row, chunk in enumerate(chunks):
        documents.setdefault(chunk.document_id, []).append(row)
        shared = [dict(chunk.metadata) if name == "metadata" else getattr(chunk, name) for name in SHARED]
        shared_of.append(numbers.setdefault(json.dumps(shared, ensure_ascii=False), len(numbers)))
    in_order = {name: sorted(rows, key=lambda row: chunks[row].ordinal) for name, rows in documents.items()}
    return {
        **packed_texts("ids", (chunk.id for chunk in chunks)),
        **packed_texts("texts", (chunk.text for chunk in chunks)),
        **packed_texts("headings", (chunk.heading for chunk in chunks)),
        **packed_texts("shared", numbers),
        "shared_of": np.array(shared_of, np.uint32),
        "places": np.array([(chunk.start, chunk.end, chunk.ordinal) for chunk in chunks], np.int64).reshape(-1, 3),
        "instruction_scores": np.array([chunk.instruction_score for chunk in chunks], np.float64),
        **packed_rows("documents", in_order),
    }
