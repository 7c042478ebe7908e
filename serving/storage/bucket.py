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
    from mypy_boto3_s3.type_defs import ListObjectsV2OutputTypeDef, ObjectTypeDef

CONNECT_S, REQUEST_S, ATTEMPTS = 3, 30, 4  # timeouts in seconds and tries of one request
CONNECTIONS = 16  # in the connection pool
PIECE_BYTES = 4_000_000  # of an object that is read piece by piece
PRECONDITION_CODES = ("PreconditionFailed", "NoSuchKey")  # another writer replaced or removed the expected version
FORBIDDEN = "AccessDenied"
CONFLICT_CODE = "ConditionalRequestConflict"  # another write of this key is in progress: try again
CONFLICT_TRIES = 5
UNLIKE_S3 = (
    KeyError,
    TypeError,
    ValueError,
    AttributeError,
    RecursionError,
)  # what boto3 makes of a page of a proxy, or of redirects in a circle
WRITE_ID_KEY = "write"  # object metadata: the id of the request that wrote it

MENDS = {
    "NoSuchBucket": "Make the bucket, or set {setting}.",
    FORBIDDEN: "It needs s3:GetObject, s3:PutObject and, to tell what is missing from what is forbidden, s3:ListBucket of the prefix.",
}


class BucketStorage:
    """Objects below `s3://bucket/prefix`; `purpose` (what is stored) and `setting` (the variable with the place) are for error messages."""

    def __init__(self, uri: str, settings: PipelineSettings, *, purpose: str, setting: str, clock: LeaseClock | None = None) -> None:
        path = uri.removeprefix("s3://").strip("/")
        self.place = f"s3://{path}"
        self._bucket, _, prefix = path.partition("/")
        if not self._bucket:
            raise ConfigError(f"{setting}={uri!r} names no bucket. Write s3://bucket/prefix.")
        self._prefix = f"{prefix}/" if prefix else ""
        self._purpose = purpose
        self._setting = setting
        self._client = _connect(settings, purpose)
        self._clock = clock or LeaseClock()

    def get(self, key: str) -> Blob | None:
        """The blob of a key, or `None`."""
        name = self._name(key)
        with self._s3_errors("NoSuchKey", FORBIDDEN) as errors:
            return self._read(name)
        if errors.code == FORBIDDEN and self._is_there(name):
            with self._s3_errors("NoSuchKey"):
                return self._read(name)
        return None

    def stream(self, key: str) -> Iterator[bytes]:
        """The bytes of a key piece by piece; none for a missing key."""
        name = self._name(key)
        with self._s3_errors("NoSuchKey", FORBIDDEN) as errors:
            yield from self._pieces(name)
        if errors.code == FORBIDDEN and self._is_there(name):
            with self._s3_errors("NoSuchKey"):
                yield from self._pieces(name)

    def put(self, key: str, data: bytes) -> None:
        """Write bytes atomically."""
        with self._s3_errors():
            self._client.put_object(Bucket=self._bucket, Key=self._name(key), Body=data)["ETag"]

    def put_if(self, key: str, data: bytes, *, expected: str | None) -> str | None:
        """Write bytes only over the expected version."""
        name, write_id = self._name(key), uuid4().hex
        condition: Any = {"IfNoneMatch": "*"} if expected is None else {"IfMatch": expected}
        for _ in range(CONFLICT_TRIES):
            with self._s3_errors(*PRECONDITION_CODES, CONFLICT_CODE) as errors:
                response = self._client.put_object(Bucket=self._bucket, Key=name, Body=data, Metadata={WRITE_ID_KEY: write_id}, **condition)
                return response["ETag"]
            if errors.code != CONFLICT_CODE:
                break
        return self._version_of_own_write(name, write_id)

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """Every key that begins with a prefix, in order."""
        start = self._prefix + checked_prefix(prefix)
        with self._s3_errors():
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=start)
            for item in (item for page in pages for item in _contents(page)):
                key = item["Key"].removeprefix(self._prefix)
                if not any(not name or name.startswith(".") for name in key.split("/")):
                    yield Entry(key, item["Size"], item["LastModified"])

    def delete(self, key: str) -> None:
        """Remove a key."""
        with self._s3_errors():
            self._client.delete_object(Bucket=self._bucket, Key=self._name(key))

    @contextmanager
    def lock(self, key: str, *, wait: bool = True) -> Iterator[None]:
        """Hold a key against every other holder on any machine."""
        with lease(self, f"{checked_key(key)}.lock", wait=wait, clock=self._clock):
            yield

    def _read(self, name: str) -> Blob:
        response = self._client.get_object(Bucket=self._bucket, Key=name)
        return Blob(response["Body"].read(), response["ETag"])

    def _pieces(self, name: str) -> Iterator[bytes]:
        return self._client.get_object(Bucket=self._bucket, Key=name)["Body"].iter_chunks(PIECE_BYTES)

    def _is_there(self, name: str) -> bool:
        """Whether a listing has it: to a role that may list only below a prefix S3 calls what is missing forbidden."""
        with self._s3_errors():
            found = self._client.list_objects_v2(Bucket=self._bucket, Prefix=name, MaxKeys=1).get("Contents", ())
        return any(item["Key"] == name for item in found)

    def _version_of_own_write(self, name: str, write_id: str) -> str | None:
        """The current version, if this very request wrote it: boto3 retries a write whose first response was lost."""
        with self._s3_errors("404", "NoSuchKey"):
            head = self._client.head_object(Bucket=self._bucket, Key=name)
            return head["ETag"] if head["Metadata"].get(WRITE_ID_KEY) == write_id else None
        return None

    def _name(self, key: str) -> str:
        return self._prefix + checked_key(key)

    def _s3_errors(self, *ignored: str) -> "_S3Errors":
        return _S3Errors(self, self._purpose, self._setting, ignored)


class _S3Errors:
    """Turns S3 errors into a `StoreError` that names the mend; an ignored error code ends the block silently and is left in `code`."""

    def __init__(self, storage: BucketStorage, purpose: str, setting: str, ignored: Sequence[str]) -> None:
        self._place = f"The {purpose} {storage.place}"
        self._setting = setting
        self._ignored = ignored
        self.code = ""

    def __enter__(self) -> "_S3Errors":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> bool:
        from botocore.exceptions import BotoCoreError, ClientError

        if isinstance(error, ClientError):
            self.code = str(error.response.get("Error", {}).get("Code", ""))
            if self.code in self._ignored:
                return True
            mend = MENDS.get(self.code, "Is {setting} right, and does S3 answer? See: touchstone doctor").format(setting=self._setting)
            raise StoreError(f"{self._place} failed: {error}. {mend}") from error
        if isinstance(error, BotoCoreError):
            raise StoreError(f"{self._place} is out of reach: {str(error).rstrip('.')}. See: touchstone doctor") from error
        if isinstance(error, UNLIKE_S3):
            raise StoreError(f"{self._place} answers as no S3 does ({type(error).__name__}). Is {self._setting} right?") from error
        return False


def _contents(page: "ListObjectsV2OutputTypeDef") -> Sequence["ObjectTypeDef"]:
    """The objects of a listing; a `KeyError` for what is none: nothing may be taken for a bucket without objects."""
    page["IsTruncated"]
    return page.get("Contents", ())


def _connect(settings: PipelineSettings, purpose: str) -> "S3Client":
    try:
        import boto3
        from botocore.config import Config
    except ImportError:
        article = "An" if purpose[0] in "aeiou" else "A"
        raise ConfigError(f"{article} {purpose} in S3 needs boto3. Run: uv sync --extra bedrock") from None

    style: Literal["path", "auto"] = "path" if settings.s3_endpoint else "auto"
    config = Config(
        connect_timeout=CONNECT_S,
        read_timeout=REQUEST_S,
        retries={"max_attempts": ATTEMPTS, "mode": "standard"},
        max_pool_connections=CONNECTIONS,
        s3={"addressing_style": style},
    )
    return boto3.Session().client("s3", region_name=settings.aws_region, endpoint_url=settings.s3_endpoint or None, config=config)
