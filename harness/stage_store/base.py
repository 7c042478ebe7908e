"""What the stage store promises: outputs kept under the digest of what went into them."""

import hashlib
import json
import threading
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

SHORT = 200  # bytes, below which compressing saves nothing but takes its time
_ZLIB = b"x"  # no JSON begins with it
_KEY = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
_VALUE = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


class StageStore(Protocol):
    """A store of stage outputs; what is kept once under a key never changes."""

    counts: "HitCounts"

    def get(self, stage: str, key: str) -> bytes | None:
        """What is kept, or `None`."""
        ...

    def put(self, stage: str, key: str, value: bytes) -> None:
        """Keep a value, whole or not at all; the first one of a key stays."""
        ...

    def get_many(self, stage: str, keys: Sequence[str]) -> dict[str, bytes]:
        """What is kept of these keys."""
        ...

    def put_many(self, stage: str, values: Mapping[str, bytes]) -> None:
        """Keep several values at once."""
        ...


@dataclass(frozen=True, slots=True)
class StageSize:
    """How much is kept of one stage."""

    stage: str
    entries: int
    bytes: int
    oldest_days: int  # since the entry used longest ago was last used; in a bucket: since the oldest was written


@dataclass(slots=True)
class HitCounts:
    """How often a stage's output was there, and how often it had to be computed; threads may count at the same time."""

    hits: Counter[str] = field(default_factory=Counter)
    misses: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def add(self, stage: str, hits: int, misses: int) -> None:
        """Count some questions to the store."""
        with self._lock:
            self.hits[stage] += hits
            self.misses[stage] += misses

    def take(self) -> dict[str, dict[str, int]]:
        """What was counted since it was last taken, as data."""
        with self._lock:
            taken = self.plain()
            self.hits.clear()
            self.misses.clear()
        return taken

    @property
    def stages(self) -> list[str]:
        """The stages asked for so far, in the order in which they were."""
        return list(dict.fromkeys([*self.hits, *self.misses]))

    def words(self) -> str:
        """Found of asked, by stage: "retrieve 148/148, answer 0/148"."""
        return ", ".join(f"{stage} {self.hits[stage]}/{self.hits[stage] + self.misses[stage]}" for stage in self.stages)

    def plain(self) -> dict[str, dict[str, int]]:
        """As data."""
        return {stage: {"hits": self.hits[stage], "misses": self.misses[stage]} for stage in self.stages}


def key_of(*parts: Any) -> str:
    """The key of JSON-like parts."""
    return hashlib.blake2b(_KEY.encode(parts).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def packed(value: Any) -> bytes:
    """JSON-like data as few bytes."""
    text = _VALUE.encode(value).encode("utf-8", "surrogatepass")
    return text if len(text) < SHORT else zlib.compress(text, level=1)


def unpacked(value: bytes) -> Any:
    """The data again."""
    text = zlib.decompress(value) if value.startswith(_ZLIB) else value
    return json.loads(text.decode("utf-8", "surrogatepass"))
