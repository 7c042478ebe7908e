"""The questions' vectors of a scope, kept in step with a log on Redis: comparing is done here, where it costs no round trip."""

import hmac
from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from serving.pipeline.cache.keys import CacheKeys
from serving.pipeline.cache.vectors import VectorTable
from serving.pipeline.index.base import Vectors

LogItem = tuple[bytes, Mapping[bytes, bytes]]
_MAC: Final = 32  # hex digits kept


def log_item(place: str, name: str, vector: Vectors, now_ms: float, keys: CacheKeys) -> dict[str, bytes]:
    """A vector as it stands in the log, with the writer's time and under a seal."""
    data, time = vector.astype("<f2").tobytes(), str(int(now_ms))
    return {"q": bytes.fromhex(name), "v": data, "t": time.encode(), "m": _seal(keys, place, name, data, time)}


class FollowedScope:
    """What this process knows of one scope's log."""

    def __init__(self, place: str, keys: CacheKeys, *, ttl_s: float, most: int) -> None:
        self._place = place
        self._keys = keys
        self._ttl_ms = ttl_s * 1000
        self._most = most
        self._order: deque[tuple[int, str]] = deque()  # as they came: milliseconds, name
        self._newest: dict[str, int] = {}
        self.last = "-"  # id of the last item that was read
        self.broken = 0
        self.table: VectorTable | None = None

    def __len__(self) -> int:
        return len(self.table) if self.table else 0

    def read(self, items: Sequence[LogItem], now_ms: float) -> None:
        """Take up what others wrote; forget what is too old."""
        names: list[str] = []
        vectors: list[Vectors] = []
        for item_id, fields in items:
            self.last = item_id.decode()
            name, data, time = fields.get(b"q", b"").hex(), fields.get(b"v", b""), fields.get(b"t", b"").decode(errors="replace")
            if not hmac.compare_digest(fields.get(b"m", b""), _seal(self._keys, self._place, name, data, time)):
                self.broken += 1
                continue
            milliseconds = int(time)
            if milliseconds > now_ms - self._ttl_ms:
                names.append(name)
                vectors.append(np.frombuffer(data, dtype="<f2").astype(np.float32))
                self._order.append((milliseconds, name))
                self._newest[name] = milliseconds
        if names and len({len(vector) for vector in vectors}) == 1:
            self._add(names, np.stack(vectors))
        while self._order and (self._order[0][0] <= now_ms - self._ttl_ms or len(self) > self._most):
            milliseconds, name = self._order.popleft()
            if self._newest.get(name) == milliseconds:
                self.drop(name)

    def write(self, name: str, vector: Vectors, now_ms: float) -> None:
        """What this process itself wrote, before it comes back in the log."""
        self._order.append((int(now_ms), name))
        self._newest[name] = int(now_ms)
        self._add([name], vector.astype("<f2").astype(np.float32)[np.newaxis])

    def drop(self, name: str) -> None:
        """Forget a vector."""
        self._newest.pop(name, None)
        if self.table:
            self.table.drop(name)

    def _add(self, names: Sequence[str], vectors: Vectors) -> None:
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        if self.table is None or self.table.dimensions != vectors.shape[1]:
            self.table = VectorTable(vectors.shape[1])
        unique = {name: row for row, name in enumerate(names)}
        rows = list(unique.values())
        self.table.add_all(list(unique), vectors[rows] / np.maximum(lengths[rows], 1e-9))


class FollowedScopes:
    """The scopes that this process follows; those unused for longest are let go where there are too many vectors."""

    def __init__(self, keys: CacheKeys, *, ttl_s: float, most: int) -> None:
        self._keys = keys
        self._ttl_s = ttl_s
        self._most = most
        self._scopes: OrderedDict[str, FollowedScope] = OrderedDict()

    def of(self, place: str) -> FollowedScope:
        """The scope of a log."""
        scope = self._scopes.get(place)
        if scope is None:
            scope = self._scopes[place] = FollowedScope(place, self._keys, ttl_s=self._ttl_s, most=self._most)
        self._scopes.move_to_end(place)
        while len(self._scopes) > 1 and (sum(map(len, self._scopes.values())) > self._most or len(self._scopes) > self._most):
            self._scopes.popitem(last=False)
        return scope

    def known(self, place: str) -> FollowedScope | None:
        """The scope of a log, if it is followed."""
        return self._scopes.get(place)


def _seal(keys: CacheKeys, place: str, name: str, data: bytes, time: str) -> bytes:
    return keys.mac("vector", place, name, data, time)[:_MAC].encode()


def stream_start(last: str) -> str:
    """Where to read on behind an item."""
    return last if last == "-" else f"({last}"
