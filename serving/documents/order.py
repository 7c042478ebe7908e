"""Which documents are indexed next: a small one waits for no large one, and a large one is not passed over for ever."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate

from serving.documents.record import DocumentRecord

LIKELY_BYTES = 1024  # of a chunk, for as long as nobody has counted them
Version = tuple[str, str]  # the id and the content of a document


@dataclass(frozen=True, slots=True)
class IndexingLimits:
    """What is small, and how much is done before others have their turn."""

    small_bytes: int = 65_536  # of a file; a larger one is indexed in slices
    small_chunks: int = 128  # so is one that has more chunks than these
    turn_chunks: int = 128  # of small documents before a large one that waits has its turn
    batch_chunks: int = 2048  # of them where no large one waits
    slice_chunks: int = 32  # of a large document before it is looked whether small ones came
    saved_chunks: int = 64  # whose vectors are kept at a time, and lost at most when a process is killed
    slices: int = 8  # in a row while no small ones came, before it is looked which large document is due
    oldest_every: int = 4  # of so many turns, one is of the large document that has waited longest; the others of the smallest


class IndexingOrder:
    """Small documents in the order in which they came, and large ones by turns."""

    def __init__(self, limits: IndexingLimits | None = None) -> None:
        self.limits = limits or IndexingLimits()
        self._large: dict[Version, None] = {}  # in the order in which they were seen
        self._turns = 0

    def found_large(self, record: DocumentRecord) -> None:
        """A document whose file is small has many chunks."""
        self._large.setdefault((record.id, record.content))

    def room(self, missing: Iterable[DocumentRecord]) -> int:
        """How many chunks of small documents are indexed before others have their turn."""
        return self.limits.turn_chunks if any(map(self._is_large, missing)) else self.limits.batch_chunks

    def small(self, missing: Sequence[DocumentRecord], most: int) -> list[DocumentRecord]:
        """The first of the missing documents that are small, as many as there may be room for."""
        small = [record for record in missing if not self._is_large(record)][:most]
        sizes, room = accumulate((record.bytes for record in small), initial=0), self.room(missing) * LIKELY_BYTES
        return [record for record, before in zip(small, sizes, strict=False) if before < room]

    def large(self, missing: Iterable[DocumentRecord]) -> DocumentRecord | None:
        """The large document whose turn it is."""
        large = {(record.id, record.content): record for record in missing if self._is_large(record)}
        seen = dict.fromkeys([*(version for version in self._large if version in large), *large])
        self._large = seen
        if not large:
            return None
        waiting: Sequence[DocumentRecord] = [large[version] for version in seen]
        self._turns += 1
        return waiting[0] if self._turns % self.limits.oldest_every == 0 else min(waiting, key=lambda record: record.bytes)

    def _is_large(self, record: DocumentRecord) -> bool:
        return record.bytes > self.limits.small_bytes or (record.id, record.content) in self._large
