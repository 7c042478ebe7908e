"""The stage store: outputs of stages under the digest of their inputs."""

import hashlib
import json
import logging
import threading
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

SUM_BYTES = 8  # of BLAKE2b: one damaged value in 2^64 is taken for a whole one
COMPRESS_FROM = 200  # bytes; compressing less saves nothing
_ZLIB = b"x"  # no JSON begins with it
_LOG = logging.getLogger(__name__)
_KEY = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
_VALUE = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


class StageStore(Protocol):
    """A store of stage outputs; the value of a key never changes."""

    counts: "HitCounts"

    def get(self, stage: str, key: str) -> bytes | None:
        """The value of a key, or `None`."""
        return self.get_many(stage, [key]).get(key)

    def put(self, stage: str, key: str, value: bytes) -> None:
        """Store a value; the first value of a key stays."""
        self.put_many(stage, {key: value})

    def get_many(self, stage: str, keys: Sequence[str]) -> dict[str, bytes]:
        """The values of those keys that are there."""
        ...

    def put_many(self, stage: str, values: Mapping[str, bytes]) -> None:
        """Store several values, each whole or not at all; the first value of a key stays."""
        ...


@dataclass(frozen=True, slots=True)
class StageSize:
    """How much is stored of one stage."""

    stage: str
    entries: int
    bytes: int
    oldest_days: int  # since the least recently used entry was used; in a bucket: since the oldest was written


@dataclass(slots=True)
class HitCounts:
    """Stage store hits and misses by stage; safe under several threads."""

    hits: Counter[str] = field(default_factory=Counter)
    misses: Counter[str] = field(default_factory=Counter)
    again: Counter[str] = field(default_factory=Counter)  # of the hits, those that this run had computed itself
    damaged: Counter[str] = field(default_factory=Counter)  # also among the misses: their bytes were not those that were stored
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def add(self, stage: str, hits: int, misses: int, again: int = 0) -> None:
        """Count hits and misses of a stage; of the hits, how many this run had computed itself."""
        with self._lock:
            self.hits[stage] += hits
            self.misses[stage] += misses
            self.again[stage] += again

    def add_damaged(self, stage: str, count: int, place: str) -> None:
        """Count damaged values, which are misses; the first are logged."""
        with self._lock:
            first = not self.damaged
            self.damaged[stage] += count
        if first:
            _LOG.warning("%s: damaged values were found, first of stage %s; they are computed again and replaced", place, stage)

    def take(self) -> dict[str, dict[str, int]]:
        """The counts since the last call, as data; they start again from zero."""
        with self._lock:
            counts = self.as_dict()
            self.hits.clear()
            self.misses.clear()
            self.again.clear()
        return counts

    @property
    def stages(self) -> list[str]:
        """The stages counted so far, in the order of their first count."""
        return list(dict.fromkeys([*self.hits, *self.misses]))

    def summary(self) -> str:
        """How many of the outputs that were needed an earlier run had stored, by stage, and how many were damaged: "retrieve 148/148"."""
        shares = {stage: reused_share({stage: counts}) for stage, counts in self.as_dict().items()}
        parts = [f"{stage} {share.reused}/{share.needed}" for stage, share in shares.items()]
        if self.damaged:
            parts.append(f"{self.damaged.total()} damaged and computed again")
        return ", ".join(parts)

    def as_dict(self) -> dict[str, dict[str, int]]:
        """The counts as data."""
        return {stage: {"hits": self.hits[stage], "misses": self.misses[stage], "again": self.again[stage]} for stage in self.stages}


@dataclass(frozen=True, slots=True)
class ReusedShare:
    """How many of the outputs that a run needed an earlier one had stored."""

    reused: int
    needed: int


def reused_share(counts: Mapping[str, Mapping[str, int]]) -> ReusedShare:
    """The share that an earlier run had stored; what this run computed and needed again counts as neither."""
    reused = sum(numbers["hits"] - numbers.get("again", 0) for numbers in counts.values())
    return ReusedShare(reused, reused + sum(numbers["misses"] for numbers in counts.values()))


def key_of(*parts: Any) -> str:
    """The key of JSON-like parts."""
    return hashlib.blake2b(_KEY.encode(parts).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def value_sum(stage: str, key: str, value: bytes) -> bytes:
    """The checksum that is stored with a value; it belongs to the key as well, so that values cannot change places."""
    digest = hashlib.blake2b(f"{stage}\0{key}\0".encode("utf-8", "surrogatepass"), digest_size=SUM_BYTES)
    digest.update(value)
    return digest.digest()


def pack(value: Any) -> bytes:
    """JSON-like data as bytes, compressed where that saves some."""
    text = _VALUE.encode(value).encode("utf-8", "surrogatepass")
    return text if len(text) < COMPRESS_FROM else zlib.compress(text, level=1)


def unpack(value: bytes) -> Any:
    """The data of `pack`."""
    text = zlib.decompress(value) if value.startswith(_ZLIB) else value
    return json.loads(text.decode("utf-8", "surrogatepass"))
