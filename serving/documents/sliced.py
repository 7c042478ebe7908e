"""A large document that is indexed in slices, with what is known of its chunks so far."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from serving.documents.record import DocumentRecord
from serving.pipeline.index.base import StoredRow
from serving.pipeline.index.chunk_rows import ChunkKey, ComputedChunk, chunk_key
from serving.pipeline.types import Chunk


@dataclass(slots=True)
class SlicedDocument:
    """One version of a document between two slices."""

    record: DocumentRecord
    chunks: Sequence[Chunk]
    keys: Sequence[ChunkKey]  # of the chunks
    computed: dict[ChunkKey, ComputedChunk]
    parts: set[str] = field(default_factory=set)  # the kept parts that are among what is computed
    unsaved: dict[ChunkKey, ComputedChunk] = field(default_factory=dict)  # what is computed and in no part yet
    reason: str = ""  # why it has no rows

    @property
    def left(self) -> list[Chunk]:
        """The chunks of which nothing is known yet, each text once."""
        return list({key: chunk for key, chunk in zip(self.keys, self.chunks, strict=True) if key not in self.computed}.values())

    @property
    def tenths(self) -> int:
        """How many tenths of its chunks are known."""
        return 10 * sum(key in self.computed for key in self.keys) // max(len(self.keys), 1)

    def merge(self, computed: Mapping[ChunkKey, ComputedChunk]) -> None:
        """Add what was kept by whoever worked at it before."""
        self.computed.update(computed)

    def add(self, rows: Iterable[StoredRow]) -> None:
        """Add what was computed now."""
        new = computed_of(rows)
        self.computed.update(new)
        self.unsaved.update(new)


def computed_of(rows: Iterable[StoredRow]) -> dict[ChunkKey, ComputedChunk]:
    """What was computed for the chunks of rows."""
    return {chunk_key(row.chunk, row.text): ComputedChunk(row.vector, row.chunk.instruction_score) for row in rows}
