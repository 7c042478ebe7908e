"""Where an index lies: a folder of this machine, or a prefix of an S3 bucket."""

import contextlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from serving.pipeline.errors import StoreError
from serving.pipeline.settings import PipelineSettings

if TYPE_CHECKING:
    from pyarrow.fs import S3FileSystem

CONNECT_S, REQUEST_S, ATTEMPTS = 3, 30, 3  # patience with S3


def is_remote(uri: str) -> bool:
    """Whether a place is in a bucket."""
    return uri.startswith("s3://")


def absolute(uri: str) -> str:
    """The place in a form that does not depend on the current folder."""
    return uri.rstrip("/") if is_remote(uri) else str(Path(uri).absolute())


def below(uri: str, *names: str) -> str:
    """A place inside a place."""
    return "/".join([absolute(uri), *names])


def storage_options(uri: str, settings: PipelineSettings) -> dict[str, str]:
    """What LanceDB needs to reach a place; keys come from AWS's own chain, never from here."""
    if not is_remote(uri):
        return {}
    options = {
        "aws_region": settings.aws_region,
        "connect_timeout": f"{CONNECT_S}s",
        "timeout": f"{REQUEST_S}s",
        "client_max_retries": str(ATTEMPTS),
        "client_retry_timeout": str(REQUEST_S),
    }
    if settings.s3_endpoint:
        options |= {"aws_endpoint": settings.s3_endpoint, "aws_virtual_hosted_style_request": "false"}
        options["allow_http"] = str(settings.s3_endpoint.startswith("http://")).lower()
    return options


def read_bytes(uri: str, settings: PipelineSettings) -> bytes | None:
    """A whole file, or None where there is none."""
    try:
        if is_remote(uri):
            with _s3(settings).open_input_stream(uri.removeprefix("s3://")) as stream:
                return bytes(stream.read())
        return Path(uri).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise StoreError(f"{uri}: cannot be read: {error}") from error


def write_bytes(uri: str, data: bytes, settings: PipelineSettings) -> None:
    """Write a whole file; a reader sees all of it or none."""
    try:
        if is_remote(uri):
            with _s3(settings).open_output_stream(uri.removeprefix("s3://")) as stream:
                stream.write(data)
            return
        path = Path(uri)
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            os.replace(name, path)  # noqa: PTH105  the word everyone knows for it
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise StoreError(f"{uri}: cannot be written: {error}") from error


def remove_prefix(uri: str, settings: PipelineSettings) -> None:
    """Remove what lies below a prefix of a bucket, as far as that can be done."""
    with contextlib.suppress(OSError):  # leftovers cost space and nothing else
        _s3(settings).delete_dir(uri.removeprefix("s3://"))


def _s3(settings: PipelineSettings) -> "S3FileSystem":
    from pyarrow.fs import AwsStandardS3RetryStrategy, S3FileSystem

    scheme, _, host = settings.s3_endpoint.rpartition("://")
    return S3FileSystem(
        region=settings.aws_region,
        scheme=scheme or "https",
        endpoint_override=host or None,
        connect_timeout=CONNECT_S,
        request_timeout=REQUEST_S,
        retry_strategy=AwsStandardS3RetryStrategy(max_attempts=ATTEMPTS),
    )
