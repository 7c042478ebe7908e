"""A stage store in a bucket with a copy on this machine before it: what was fetched once is not fetched again."""

from collections.abc import Mapping, Sequence

from harness.stage_store.base import HitCounts, StageSize
from harness.stage_store.objects import BucketStageStore
from harness.stage_store.sqlite import SqliteStageStore


class LayeredStageStore:
    """Reads the copy first, then the bucket; writes the bucket first, so that what the copy holds is in the bucket as well."""

    def __init__(self, copy: SqliteStageStore, shared: BucketStageStore) -> None:
        self.counts = HitCounts()
        self.copy = copy
        self.shared = shared
        self.place = shared.place

    def get(self, stage: str, key: str) -> bytes | None:
        """What is kept, or `None`."""
        return self.get_many(stage, [key]).get(key)

    def put(self, stage: str, key: str, value: bytes) -> None:
        """Keep a value; the first one of a key stays."""
        self.put_many(stage, {key: value})

    def get_many(self, stage: str, keys: Sequence[str]) -> dict[str, bytes]:
        """What is kept of these keys."""
        wanted = list(dict.fromkeys(keys))
        found = self.copy.get_many(stage, wanted)
        if missing := [key for key in wanted if key not in found]:
            fetched = self.shared.get_many(stage, missing)
            self.copy.put_many(stage, fetched)
            found |= fetched
        self.counts.add(stage, len(found), len(wanted) - len(found))
        return found

    def put_many(self, stage: str, values: Mapping[str, bytes]) -> None:
        """Keep several values; those that this machine has seen are in the bucket already."""
        known = self.copy.get_many(stage, list(values))
        new = {key: value for key, value in values.items() if key not in known}
        ours = self.shared.offer(stage, new)  # where another machine was faster, its value is fetched the next time
        self.copy.put_many(stage, {key: value for key, value in new.items() if key in ours})

    def sizes(self) -> list[StageSize]:
        """How much is kept in the bucket, by stage."""
        return self.shared.sizes()

    def remove(self, *, stage: str = "", unused_days: int = 0) -> int:
        """Forget entries of this machine's copy; the bucket's own lifecycle rules end those in it."""
        return self.copy.remove(stage=stage, unused_days=unused_days)

    def close(self) -> None:
        """Close both."""
        self.copy.close()
        self.shared.close()
