"""What was computed for the chunks of documents that are indexed in slices, kept until a segment has their rows.

Its keys are <prefix>/<digest of a document's id>/<name>.bin, each a part with some of the chunks. They hold no words: vectors and scores
are under the digests of the texts that they were computed of, so that a new version of a document uses what it shares with the one before.
"""

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b

import numpy as np

from serving.pipeline.digest import digest_text
from serving.pipeline.index.chunk_rows import ChunkKey, ComputedChunk
from serving.pipeline.index.resident.mapped import Array, arrays_as_bytes, arrays_of_bytes
from serving.storage.base import Storage

FORMAT = 1
REQUESTS = 8  # to the storage at a time


class BegunDocuments:
    """The parts of begun documents in a storage that replicas share; calls block."""

    def __init__(self, storage: Storage, prefix: str) -> None:
        self._storage = storage
        self._prefix = prefix
        self._known: set[str] | None = None  # digests of ids; None: nobody looked yet

    def keep(self, document_id: str, computed: Mapping[ChunkKey, ComputedChunk]) -> str:
        """Keep a part; its name, which is the same for the same chunks."""
        name = blake2b(b"".join(computed), digest_size=16).hexdigest()
        arrays: dict[str, Array] = {
            "keys": np.frombuffer(b"".join(computed), np.uint8).reshape(len(computed), -1),
            "vectors": np.stack([np.asarray(one.vector, np.float32) for one in computed.values()]),
            "scores": np.array([one.instruction_score for one in computed.values()], np.float64),
        }
        self._storage.put(f"{self._folder(document_id)}{name}.bin", arrays_as_bytes({"format": FORMAT}, arrays))
        self._all().add(digest_text(document_id))
        return name

    def fetch(self, document_id: str, known: set[str]) -> dict[ChunkKey, ComputedChunk]:
        """What the parts of a document hold that are not known, and now are; one that is damaged is as if it were not there."""
        folder = self._folder(document_id)
        names = [entry.key.removeprefix(folder).removesuffix(".bin") for entry in self._storage.list(folder)]
        new = [name for name in names if name not in known]
        with ThreadPoolExecutor(REQUESTS) as pool:
            parts = list(pool.map(lambda name: self._read(f"{folder}{name}.bin"), new))
        known.update(new)
        return {key: computed for part in parts for key, computed in part.items()}

    def gone(self, missing: Iterable[str]) -> list[str]:
        """The digests of documents that have parts, as far as is known here, and are none of the missing ones."""
        known = self._all()
        return sorted(known - {digest_text(ident) for ident in missing}) if known else []

    def drop_gone(self, missing: Iterable[str]) -> None:
        """Remove what was kept of documents that are none of the missing ones."""
        for digest in self.gone(missing):
            self._drop(digest)

    def look(self) -> None:
        """Find out of which documents there are parts, whoever kept them."""
        self._known = {entry.key.removeprefix(f"{self._prefix}/").partition("/")[0] for entry in self._storage.list(f"{self._prefix}/")}

    def _all(self) -> set[str]:
        if self._known is None:
            self.look()
        assert self._known is not None
        return self._known

    def _read(self, key: str) -> dict[ChunkKey, ComputedChunk]:
        blob = self._storage.get(key)
        arrays = arrays_of_bytes(blob.data) if blob else None
        if arrays is None or arrays.header.get("format") != FORMAT:
            return {}
        values = zip(arrays["keys"], arrays["vectors"], arrays["scores"], strict=True)
        return {key.tobytes(): ComputedChunk(vector, float(score)) for key, vector, score in values}

    def _drop(self, digest: str) -> None:
        if digest in self._all():
            keys = [entry.key for entry in self._storage.list(f"{self._prefix}/{digest}/")]
            with ThreadPoolExecutor(REQUESTS) as pool:
                list(pool.map(self._storage.delete, keys))
            self._all().discard(digest)

    def _folder(self, document_id: str) -> str:
        return f"{self._prefix}/{digest_text(document_id)}/"
