"""A stage store in a bucket with a copy on this machine: a value is fetched once."""

from collections.abc import Mapping, Sequence

from harness.stage_store.base import HitCounts, StageSize, StageStore
from harness.stage_store.bucket import BucketStageStore
from harness.stage_store.sqlite import SqliteStageStore


class LayeredStageStore(StageStore):
    """Reads the copy first, then the bucket; writes the bucket first, so that the copy never has a value that the bucket lacks."""

    def __init__(self, copy: SqliteStageStore, shared: BucketStageStore) -> None:
        self.counts = HitCounts()
        self.copy = copy
        self.shared = shared
        self.place = shared.place

    def get_many(self, stage: str, keys: Sequence[str]) -> dict[str, bytes]:
        """The values of those keys that are there."""
        distinct = list(dict.fromkeys(keys))
        read = self.copy.read(stage, distinct)
        values = read.values
        if missing := [key for key in distinct if key not in values]:
            fetched = self.shared.get_many(stage, missing)
            self.copy.put_written(stage, fetched, 0.0)  # by whom, nobody knows: it counts as kept from before
            values |= fetched
        self.counts.add(stage, len(values), len(distinct) - len(values), read.again)
        self.counts.damaged = self.copy.counts.damaged + self.shared.counts.damaged
        return values

    def put_many(self, stage: str, values: Mapping[str, bytes]) -> None:
        """Store several values; those in the copy are in the bucket already."""
        copied = self.copy.read(stage, list(values)).values
        new = {key: value for key, value in values.items() if key not in copied}
        written = self.shared.put_missing(stage, new)  # a value that another machine wrote first is fetched at the next read
        self.copy.put_many(stage, {key: value for key, value in new.items() if key in written})

    def sizes(self) -> list[StageSize]:
        """How much is stored in the bucket, by stage."""
        return self.shared.sizes()

    def remove(self, *, stage: str = "", unused_days: int = 0) -> int:
        """Remove entries of this machine's copy; the bucket has lifecycle rules of its own."""
        return self.copy.remove(stage=stage, unused_days=unused_days)

    def close(self) -> None:
        """Close both."""
        self.copy.close()
        self.shared.close()
