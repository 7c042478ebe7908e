"""What several tests of builds in parts need."""

from collections.abc import Callable
from pathlib import Path

import boto3
import pytest

from harness.settings import HarnessSettings


@pytest.fixture
def upload() -> Callable[[Path, str], None]:
    """Copies a folder into a bucket, under its name."""

    def copy(folder: Path, bucket: str) -> None:
        client = boto3.Session().client("s3", endpoint_url=HarnessSettings().s3_endpoint, region_name="us-east-1")
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                client.put_object(Bucket=bucket, Key=f"{folder.name}/{path.relative_to(folder)}", Body=path.read_bytes())

    return copy
