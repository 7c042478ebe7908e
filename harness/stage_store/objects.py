"""The stage store in a bucket: an object per key, for machines that share no disk."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TypeVar

from harness.stage_store.base import HitCounts, StageSize
from serving.pipeline.settings import PipelineSettings
from serving.storage.bucket import CONNECTIONS, BucketStorage

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class BucketStageStore:
    """A stage store below `s3://bucket/prefix`: `<prefix>/<stage>/<first two of the key>/<key>`."""

    def __init__(self, uri: str, settings: PipelineSettings, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.counts = HitCounts()
        self._storage = BucketStorage(uri, settings, purpose="stage store", setting="TOUCHSTONE_STAGES")
        self.place = self._storage.place
        self._threads = ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="stages")
        self._now = now

    def get(self, stage: str, key: str) -> bytes | None:
        """What is kept, or `None`."""
        return self.get_many(stage, [key]).get(key)

    def put(self, stage: str, key: str, value: bytes) -> None:
        """Keep a value; the first one of a key stays."""
        self.put_many(stage, {key: value})

    def get_many(self, stage: str, keys: Sequence[str]) -> dict[str, bytes]:
        """What is kept of these keys, fetched side by side."""
        wanted = list(dict.fromkeys(keys))
        values = self._all(lambda key: self._get(stage, key), wanted)
        found = {key: value for key, value in zip(wanted, values, strict=True) if value is not None}
        self.counts.add(stage, len(found), len(wanted) - len(found))
        return found

    def put_many(self, stage: str, values: Mapping[str, bytes]) -> None:
        """Keep several values, side by side."""
        self.offer(stage, values)

    def offer(self, stage: str, values: Mapping[str, bytes]) -> set[str]:
        """Keep several values; returns the keys under which nothing was kept before."""
        taken = self._all(lambda item: self._put(stage, *item), values.items())
        return {key for key, new in zip(values, taken, strict=True) if new}

    def sizes(self) -> list[StageSize]:
        """How much is kept, by stage; every object is listed. A bucket knows when an object was written, not when it was read."""
        found: dict[str, tuple[int, int, int]] = {}
        for one in self._storage.list():
            stage = one.key.partition("/")[0]
            entries, size, days = found.get(stage, (0, 0, 0))
            found[stage] = (entries + 1, size + one.size, max(days, (self._now() - one.modified).days))
        return [StageSize(stage, *numbers) for stage, numbers in sorted(found.items())]

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown()

    def _get(self, stage: str, key: str) -> bytes | None:
        found = self._storage.get(_name(stage, key))
        return found.data if found else None

    def _put(self, stage: str, key: str, value: bytes) -> bool:
        """Whether nothing was kept there before."""
        return self._storage.put_if(_name(stage, key), value, expected=None) is not None

    def _all(self, do: Callable[[Item], Answer], items: Iterable[Item]) -> list[Answer]:
        """Do something with each; one alone needs no thread."""
        listed = list(items)
        return [do(listed[0])] if len(listed) == 1 else list(self._threads.map(do, listed))


def _name(stage: str, key: str) -> str:
    return f"{stage}/{key[:2]}/{key}"
