"""Storage in an S3 bucket: an object per key below a prefix, written by conditional requests."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal
from uuid import uuid4

from serving.pipeline.errors import ConfigError, StoreError
from serving.pipeline.settings import PipelineSettings
from serving.storage.base import Blob, Entry, checked_key, checked_prefix
from serving.storage.lease import LeaseClock, lease

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

CONNECT_S, REQUEST_S, ATTEMPTS = 3, 30, 4  # patience with S3
CONNECTIONS = 16  # requests at a time
LOST = ("PreconditionFailed", "NoSuchKey")  # another has written, or removed, what was expected
BUSY = "ConditionalRequestConflict"  # another is writing it this moment: the answer is not known yet, ask again
BUSY_TRIES = 5
WRITE = "write"  # metadata: which request wrote an object

MENDS = {
    "NoSuchBucket": "Make the bucket, or set {setting}.",
    "AccessDenied": "It needs s3:GetObject, s3:PutObject and, to tell what is missing from what is forbidden, s3:ListBucket.",
}


class BucketStorage:
    """Objects below `s3://bucket/prefix`. `called` and `setting` say in errors what is kept there, and which variable names the place."""

    def __init__(self, uri: str, settings: PipelineSettings, *, called: str, setting: str, clock: LeaseClock | None = None) -> None:
        path = uri.removeprefix("s3://").strip("/")
        self.place = f"s3://{path}"
        self._bucket, _, prefix = path.partition("/")
        if not self._bucket:
            raise ConfigError(f"{setting}={uri!r} names no bucket. Write s3://bucket/prefix.")
        self._prefix = f"{prefix}/" if prefix else ""
        self._called = called
        self._setting = setting
        self._client = _connect(settings, called)
        self._clock = clock or LeaseClock()

    def get(self, key: str) -> Blob | None:
        """What is kept, or `None`."""
        with self._told("NoSuchKey"):
            found = self._client.get_object(Bucket=self._bucket, Key=self._name(key))
            return Blob(found["Body"].read(), found["ETag"])
        return None

    def put(self, key: str, data: bytes) -> None:
        """Keep bytes whole or not at all."""
        with self._told():
            self._client.put_object(Bucket=self._bucket, Key=self._name(key), Body=data)

    def put_if(self, key: str, data: bytes, *, expected: str | None) -> str | None:
        """Keep bytes only where this version is."""
        name, write = self._name(key), uuid4().hex
        condition: Any = {"IfNoneMatch": "*"} if expected is None else {"IfMatch": expected}
        for _ in range(BUSY_TRIES):
            with self._told(*LOST, BUSY) as told:
                done = self._client.put_object(Bucket=self._bucket, Key=name, Body=data, Metadata={WRITE: write}, **condition)
                return done["ETag"]
            if told.code != BUSY:
                break
        return self._ours(name, write)

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """Every key that begins with a prefix, in order."""
        start = self._prefix + checked_prefix(prefix)
        with self._told():
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=start)
            for one in (one for page in pages for one in page.get("Contents", ())):
                key = one["Key"].removeprefix(self._prefix)
                if not any(not name or name.startswith(".") for name in key.split("/")):
                    yield Entry(key, one["Size"], one["LastModified"])

    def delete(self, key: str) -> None:
        """Forget a key."""
        with self._told():
            self._client.delete_object(Bucket=self._bucket, Key=self._name(key))

    @contextmanager
    def lock(self, key: str, *, wait: bool = True) -> Iterator[None]:
        """Hold a key against every other holder on any machine."""
        with lease(self, f"{checked_key(key)}.lock", wait=wait, clock=self._clock):
            yield

    def _ours(self, name: str, write: str) -> str | None:
        """The version there, if it is that of a write of ours whose first answer was lost on the way: boto3 had sent it again."""
        with self._told("404", "NoSuchKey"):
            found = self._client.head_object(Bucket=self._bucket, Key=name)
            return found["ETag"] if found["Metadata"].get(WRITE) == write else None
        return None

    def _name(self, key: str) -> str:
        return self._prefix + checked_key(key)

    def _told(self, *fine: str) -> "_Told":
        return _Told(self, self._called, self._setting, fine)


class _Told:
    """What S3 says becomes a `StoreError` that names the mend; the codes that are fine end the block without a word."""

    def __init__(self, storage: BucketStorage, called: str, setting: str, fine: Sequence[str]) -> None:
        self._what = f"The {called} {storage.place}"
        self._setting = setting
        self._fine = fine
        self.code = ""

    def __enter__(self) -> "_Told":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> bool:
        from botocore.exceptions import BotoCoreError, ClientError

        if isinstance(error, ClientError):
            self.code = str(error.response.get("Error", {}).get("Code", ""))
            if self.code in self._fine:
                return True
            mend = MENDS.get(self.code, "Is {setting} right, and does S3 answer? See: touchstone doctor").format(setting=self._setting)
            raise StoreError(f"{self._what} failed: {error}. {mend}") from error
        if isinstance(error, BotoCoreError):
            raise StoreError(f"{self._what} is out of reach: {error} See: touchstone doctor") from error
        return False


def _connect(settings: PipelineSettings, called: str) -> "S3Client":
    try:
        import boto3
        from botocore.config import Config
    except ImportError:
        article = "An" if called[0] in "aeiou" else "A"
        raise ConfigError(f"{article} {called} in S3 needs boto3. Run: uv sync --extra bedrock") from None

    style: Literal["path", "auto"] = "path" if settings.s3_endpoint else "auto"
    config = Config(
        connect_timeout=CONNECT_S,
        read_timeout=REQUEST_S,
        retries={"max_attempts": ATTEMPTS, "mode": "standard"},
        max_pool_connections=CONNECTIONS,
        s3={"addressing_style": style},
    )
    return boto3.Session().client("s3", region_name=settings.aws_region, endpoint_url=settings.s3_endpoint or None, config=config)
