"""The stage store in a bucket: an object per key, for machines that share no disk."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

from harness.stage_store.base import HitCounts, StageSize
from serving.pipeline.errors import ConfigError, StoreError
from serving.pipeline.settings import PipelineSettings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

THREADS = 16  # requests at a time
CONNECT_S, REQUEST_S, ATTEMPTS = 3, 30, 4  # patience with S3
TAKEN = ("PreconditionFailed", "ConditionalRequestConflict")  # somebody else has kept, or is keeping, a value under this key

MENDS = {
    "NoSuchBucket": "Make the bucket, or set TOUCHSTONE_STAGES.",
    "AccessDenied": "It needs s3:GetObject, s3:PutObject and, to tell what is missing from what is forbidden, s3:ListBucket.",
}

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class ObjectStageStore:
    """A stage store below `s3://bucket/prefix`: `<prefix>/<stage>/<first two of the key>/<key>`."""

    def __init__(self, uri: str, settings: PipelineSettings, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.counts = HitCounts()
        path = uri.removeprefix("s3://").strip("/")
        self.place = f"s3://{path}"
        self._bucket, _, prefix = path.partition("/")
        if not self._bucket:
            raise ConfigError(f"TOUCHSTONE_STAGES={uri!r} names no bucket. Write s3://bucket/prefix.")
        self._prefix = f"{prefix}/" if prefix else ""
        self._client = _connect(settings)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="stages")
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
        values = self._all(lambda key: self._get(self._name(stage, key)), wanted)
        found = {key: value for key, value in zip(wanted, values, strict=True) if value is not None}
        self.counts.add(stage, len(found), len(wanted) - len(found))
        return found

    def put_many(self, stage: str, values: Mapping[str, bytes]) -> None:
        """Keep several values, side by side."""
        self.offer(stage, values)

    def offer(self, stage: str, values: Mapping[str, bytes]) -> set[str]:
        """Keep several values; returns the keys under which nothing was kept before."""
        taken = self._all(lambda item: self._put(self._name(stage, item[0]), item[1]), values.items())
        return {key for key, new in zip(values, taken, strict=True) if new}

    def sizes(self) -> list[StageSize]:
        """How much is kept, by stage; every object is listed. A bucket knows when an object was written, not when it was read."""
        found: dict[str, tuple[int, int, int]] = {}
        with self._told():
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=self._prefix)
            for one in (one for page in pages for one in page.get("Contents", ())):
                stage = one["Key"].removeprefix(self._prefix).partition("/")[0]
                entries, size, days = found.get(stage, (0, 0, 0))
                found[stage] = (entries + 1, size + one["Size"], max(days, (self._now() - one["LastModified"]).days))
        return [StageSize(stage, *numbers) for stage, numbers in sorted(found.items())]

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown()

    def _name(self, stage: str, key: str) -> str:
        return f"{self._prefix}{stage}/{key[:2]}/{key}"

    def _get(self, name: str) -> bytes | None:
        with self._told("NoSuchKey"):
            return self._client.get_object(Bucket=self._bucket, Key=name)["Body"].read()
        return None

    def _put(self, name: str, value: bytes) -> bool:
        """Whether nothing was kept there before."""
        with self._told(*TAKEN):
            self._client.put_object(Bucket=self._bucket, Key=name, Body=value, IfNoneMatch="*")
            return True
        return False

    def _all(self, do: Callable[[Item], Answer], items: Iterable[Item]) -> list[Answer]:
        """Do something with each; one alone needs no thread."""
        listed = list(items)
        return [do(listed[0])] if len(listed) == 1 else list(self._threads.map(do, listed))

    def _told(self, *fine: str) -> "_Told":
        return _Told(self.place, fine)


class _Told:
    """What S3 says becomes a `StoreError` that names the mend; the codes that are fine end the block without a word."""

    def __init__(self, place: str, fine: Sequence[str]) -> None:
        self._place = place
        self._fine = fine

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> bool:
        from botocore.exceptions import BotoCoreError, ClientError

        if isinstance(error, ClientError):
            code = str(error.response.get("Error", {}).get("Code", ""))
            if code in self._fine:
                return True
            mend = MENDS.get(code, "Is TOUCHSTONE_STAGES right, and does S3 answer? See: touchstone doctor")
            raise StoreError(f"The stage store {self._place} failed: {error}. {mend}") from error
        if isinstance(error, BotoCoreError):
            raise StoreError(f"The stage store {self._place} is out of reach: {error} See: touchstone doctor") from error
        return False


def _connect(settings: PipelineSettings) -> "S3Client":
    try:
        import boto3
        from botocore.config import Config
    except ImportError:
        raise ConfigError("A stage store in S3 needs boto3. Run: uv sync --extra bedrock") from None

    config = Config(
        connect_timeout=CONNECT_S,
        read_timeout=REQUEST_S,
        retries={"max_attempts": ATTEMPTS, "mode": "standard"},
        max_pool_connections=THREADS,
        s3={"addressing_style": "path" if settings.s3_endpoint else "auto"},
    )
    return boto3.client("s3", region_name=settings.aws_region, endpoint_url=settings.s3_endpoint or None, config=config)
