"""Chunks that were found, kept once however often they are found again."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from harness.stage_store.base import StageStore, key_of, packed, unpacked
from serving.pipeline.codec import Codec
from serving.pipeline.types import Chunk

STAGE = "chunk"
REMEMBERED = 20_000  # chunks of this process, so that each is read once
_CHUNK = Codec(Chunk)


@dataclass(frozen=True, slots=True)
class CachedChunks:
    """Chunks by the digest of all they hold."""

    stages: StageStore
    _known: set[str] = field(default_factory=set)  # names that are kept for certain: most chunks are found again and again

    def keep(self, chunks: Sequence[Chunk]) -> list[str]:
        """Keep chunks; returns their names."""
        plain = [_CHUNK.dump(chunk) for chunk in chunks]
        names = [key_of(one) for one in plain]
        new = {name: packed(one) for name, one in zip(names, plain, strict=True) if name not in self._known}
        self.stages.put_many(STAGE, new)
        self._known.update(new)
        return names

    def find(self, names: Sequence[str]) -> list[Chunk] | None:
        """The chunks of these names; `None` when one was forgotten."""
        known = self.stages.get_many(STAGE, names)
        if len(known) < len(set(names)):
            self._known.clear()  # somebody clears the store
            return None
        return [_chunk(known[name]) for name in names]


@lru_cache(maxsize=REMEMBERED)
def _chunk(value: bytes) -> Chunk:
    return _CHUNK.value(unpacked(value))
