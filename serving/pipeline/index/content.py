"""The digest of what an index holds: rows and vectors, however the store lays them out in files."""

import hashlib
import json
from collections.abc import Iterable

import numpy as np

from serving.pipeline.index.base import StoredRow

_FLOAT = np.dtype("<f4")


DIGEST_BYTES = 32  # of one row


class ContentDigest:
    """The SHA-256 over rows that come in any order: the digests of the single rows are sorted before they are joined."""

    def __init__(self) -> None:
        self._rows: list[bytes] = []

    def add(self, rows: Iterable[StoredRow]) -> None:
        """Take in some rows."""
        self._rows += (_row_digest(row) for row in rows)

    def row_digests(self) -> bytes:
        """The digests of the rows so far, sorted and joined: what is kept of a part, to be merged with those of the others."""
        return b"".join(sorted(self._rows))

    def hexdigest(self) -> str:
        """The digest of all rows so far, as 64 hex digits."""
        return hashlib.sha256(self.row_digests()).hexdigest()


def content_digest(rows: Iterable[StoredRow]) -> str:
    """The digest of rows: it changes with any id, text, span, vector, score or column that decides who may read, and with nothing else."""
    digest = ContentDigest()
    digest.add(rows)
    return digest.hexdigest()


def _row_digest(row: StoredRow) -> bytes:
    chunk = row.chunk
    place = [chunk.id, chunk.document_id, chunk.start, chunk.end, chunk.ordinal]
    shown = [chunk.text, chunk.title, chunk.heading, chunk.source, chunk.version, row.text]
    access = [chunk.tenant, list(chunk.groups), row.open, chunk.domain, sorted(chunk.metadata.items()), list(row.facts)]
    columns = json.dumps([place, shown, access, chunk.instruction_score], separators=(",", ":")).encode()
    vector = np.ascontiguousarray(row.vector, dtype=_FLOAT).tobytes()
    return hashlib.sha256(b"%d:%b%b" % (len(columns), columns, vector)).digest()
