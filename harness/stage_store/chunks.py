"""Chunks in the stage store: each is stored once, however many results hold it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from harness.stage_store.base import StageStore, key_of, pack, unpack
from serving.pipeline.codec import Codec
from serving.pipeline.types import Chunk

STAGE = "chunk"
CHUNKS_IN_MEMORY = 20_000  # of this process, so that each is parsed once
_CHUNK = Codec(Chunk)


@dataclass(frozen=True, slots=True)
class CachedChunks:
    """Chunks by the digest of their content."""

    store: StageStore
    _known: set[str] = field(default_factory=set)  # names known to be stored: most chunks are results again and again

    def store_all(self, chunks: Sequence[Chunk]) -> list[str]:
        """Store chunks; returns their names."""
        dumped = [_CHUNK.dump(chunk) for chunk in chunks]
        names = [key_of(values) for values in dumped]
        new = {name: pack(values) for name, values in zip(names, dumped, strict=True) if name not in self._known}
        self.store.put_many(STAGE, new)
        self._known.update(new)
        return names

    def find(self, names: Sequence[str]) -> list[Chunk] | None:
        """The chunks of these names; `None` when one is not stored any more."""
        stored = self.store.get_many(STAGE, names)
        if len(stored) < len(set(names)):
            self._known.clear()  # the store was cleared meanwhile
            return None
        return [_chunk(stored[name]) for name in names]


@lru_cache(maxsize=CHUNKS_IN_MEMORY)
def _chunk(value: bytes) -> Chunk:
    return _CHUNK.value(unpack(value))
