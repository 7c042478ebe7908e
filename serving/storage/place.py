"""Places as text: a folder of this machine, or a prefix of an S3 bucket."""

from pathlib import Path


def is_remote(uri: str) -> bool:
    """Whether a place is in a bucket."""
    return uri.startswith("s3://")


def absolute(uri: str) -> str:
    """The place in a form that does not depend on the current folder."""
    return uri.rstrip("/") if is_remote(uri) else str(Path(uri).absolute())


def below(uri: str, *names: str) -> str:
    """A place inside a place."""
    return "/".join([absolute(uri), *names])
