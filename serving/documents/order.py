"""Which documents are indexed next: a small one waits for no large one, and a large one is not passed over for ever."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate

from serving.documents.record import DocumentRecord

Version = tuple[str, str]  # the id and the content of a document


@dataclass(frozen=True, slots=True)
class IndexingLimits:
    """What is small, and how much is done before others have their turn."""

    small_bytes: int = 65_536  # of a file; a larger one is indexed in slices
    small_chunks: int = 256  # so is one that has more chunks than these
    turn_chunks: int = 256  # of small documents before a slice of a large one is due
    turn_bytes: int = 262_144  # of their files, which are read before their chunks are counted
    slice_chunks: int = 64  # of a large document before small ones are due
    oldest_every: int = 4  # of so many slices, one is of the large document that has waited longest; the others of the smallest


class IndexingOrder:
    """Small documents in the order in which they came, and large ones by turns."""

    def __init__(self, limits: IndexingLimits | None = None) -> None:
        self.limits = limits or IndexingLimits()
        self._large: dict[Version, None] = {}  # in the order in which they were seen
        self._slices = 0

    def found_large(self, record: DocumentRecord) -> None:
        """A document whose file is small has many chunks."""
        self._large.setdefault((record.id, record.content))

    def small(self, missing: Iterable[DocumentRecord], most: int) -> list[DocumentRecord]:
        """The first of the missing documents that are small, as many as a turn takes."""
        small = [record for record in missing if not self._is_large(record)][:most]
        sizes = accumulate((record.bytes for record in small), initial=0)
        return [record for record, before in zip(small, sizes, strict=False) if before < self.limits.turn_bytes]

    def large(self, missing: Iterable[DocumentRecord]) -> DocumentRecord | None:
        """The large document that a slice is due to."""
        large = {(record.id, record.content): record for record in missing if self._is_large(record)}
        seen = dict.fromkeys([*(version for version in self._large if version in large), *large])
        self._large = seen
        if not large:
            return None
        waiting: Sequence[DocumentRecord] = [large[version] for version in seen]
        self._slices += 1
        return waiting[0] if self._slices % self.limits.oldest_every == 0 else min(waiting, key=lambda record: record.bytes)

    def _is_large(self, record: DocumentRecord) -> bool:
        return record.bytes > self.limits.small_bytes or (record.id, record.content) in self._large
