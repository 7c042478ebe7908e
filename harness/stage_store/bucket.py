"""The stage store in a bucket: an object per key, for machines that share no disk."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from typing import TypeVar

from harness.stage_store.base import SUM_BYTES, HitCounts, StageSize, StageStore, value_sum
from serving.pipeline.errors import StoreError
from serving.pipeline.settings import PipelineSettings
from serving.storage.bucket import CONNECTIONS, BucketStorage

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class BucketStageStore(StageStore):
    """A stage store below `s3://bucket/prefix`: `<prefix>/<stage>/<first two of the key>/<key>`, each object a sum and its value."""

    def __init__(self, uri: str, settings: PipelineSettings, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.counts = HitCounts()
        self._storage = BucketStorage(uri, settings, purpose="stage store", setting="TOUCHSTONE_STAGES")
        self.place = self._storage.place
        self._threads = ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="stages")
        self._now = now

    def get_many(self, stage: str, keys: Sequence[str]) -> dict[str, bytes]:
        """The values of those keys that are there, fetched concurrently."""
        distinct = list(dict.fromkeys(keys))
        fetched = self._map(lambda key: self._get(stage, key), distinct)
        stored = {key: value for key, value in zip(distinct, fetched, strict=True) if value is not None}
        self.counts.add(stage, len(stored), len(distinct) - len(stored))
        return stored

    def put_many(self, stage: str, values: Mapping[str, bytes]) -> None:
        """Store several values, concurrently."""
        self.put_missing(stage, values)

    def put_missing(self, stage: str, values: Mapping[str, bytes]) -> set[str]:
        """Store several values; returns the keys that were not there before."""
        written = self._map(lambda item: self._put(stage, *item), values.items())
        return {key for key, new in zip(values, written, strict=True) if new}

    def sizes(self) -> list[StageSize]:
        """How much is stored, by stage; lists every object. A bucket knows when an object was written, not when it was read."""
        totals: dict[str, tuple[int, int, int]] = {}
        for entry in self._storage.list():
            stage = entry.key.partition("/")[0]
            entries, size, days = totals.get(stage, (0, 0, 0))
            totals[stage] = (entries + 1, size + entry.size, max(days, (self._now() - entry.modified).days))
        return [StageSize(stage, *total) for stage, total in sorted(totals.items())]

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown()

    def _get(self, stage: str, key: str) -> bytes | None:
        """The value of a key; an object whose sum is not that of its value is removed, so that the next value takes its place."""
        entry = self._storage.get(_name(stage, key))
        if entry is None:
            return None
        stored_sum, value = entry.data[:SUM_BYTES], entry.data[SUM_BYTES:]
        if value_sum(stage, key, value) == stored_sum:
            return value
        self.counts.add_damaged(stage, 1, self.place)
        with suppress(StoreError):  # where nothing may be removed, the value is computed each time
            self._storage.delete(_name(stage, key))
        return None

    def _put(self, stage: str, key: str, value: bytes) -> bool:
        """Store a value; whether the key was not there before."""
        return self._storage.put_if(_name(stage, key), value_sum(stage, key, value) + value, expected=None) is not None

    def _map(self, function: Callable[[Item], Answer], items: Iterable[Item]) -> list[Answer]:
        """The function of each item, in threads; a single item needs none."""
        all_items = list(items)
        return [function(all_items[0])] if len(all_items) == 1 else list(self._threads.map(function, all_items))


def _name(stage: str, key: str) -> str:
    return f"{stage}/{key[:2]}/{key}"
