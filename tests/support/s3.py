"""A server that speaks S3's protocol, and buckets on it."""

import os
from collections.abc import Iterator
from uuid import uuid4

import boto3
import pytest
from moto.server import ThreadedMotoServer

KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_EC2_METADATA_DISABLED": "true"}


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The server's address."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3_bucket(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A bucket of the test's own; the keys to it and the server's address are in the environment."""
    for name, value in (KEYS | {"TOUCHSTONE_S3_ENDPOINT": s3_server}).items():
        monkeypatch.setenv(name, value)
    name = f"bucket-{uuid4().hex[:12]}"  # the server's memory outlives it
    boto3.Session().client("s3", endpoint_url=s3_server, region_name="us-east-1").create_bucket(Bucket=name)
    assert os.environ["TOUCHSTONE_S3_ENDPOINT"] == s3_server
    return name


@pytest.fixture(params=["folder", "bucket"])
def storage_uri(request: pytest.FixtureRequest) -> str:
    """A place for each kind of storage."""
    if request.param == "folder":
        return str(request.getfixturevalue("tmp_path") / "kept" / "here")
    return f"s3://{request.getfixturevalue('s3_bucket')}/kept/here"
