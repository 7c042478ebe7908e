import builtins
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from serving.pipeline.errors import ConfigError, LockedError, StoreError
from serving.pipeline.settings import PipelineSettings
from serving.storage.bucket import BucketStorage
from serving.storage.lease import LeaseClock
from tests.support.proxy import PAGE, a_proxy
from tests.support.rights import Account, Role, gateway
from tests.support.s3 import KEYS

DEAD = "http://127.0.0.1:9"


def bucket(uri: str, clock: LeaseClock | None = None, **settings: Any) -> BucketStorage:
    places = PipelineSettings(_env_file=None, **settings)
    return BucketStorage(uri, places, purpose="release store", setting="TOUCHSTONE_RELEASES", clock=clock)


class Hands:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.at = datetime(2026, 11, 1, tzinfo=UTC)

    def move(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)

    def clock(self, lease_s: float = 60.0) -> LeaseClock:
        return LeaseClock(lease_s, lambda: self.at, self.move)


def test_errors_say_what_is_kept_there_and_name_the_mend(s3_bucket: str) -> None:
    with pytest.raises(StoreError, match=r"The release store s3://nowhere/x failed: .* Make the bucket, or set TOUCHSTONE_RELEASES\."):
        bucket("s3://nowhere/x").put("key", b"")
    with pytest.raises(StoreError, match=r"The release store s3://b is out of reach: .* See: touchstone doctor"):
        bucket("s3://b", s3_endpoint=DEAD).get("key")
    with pytest.raises(ConfigError, match=r"TOUCHSTONE_RELEASES='s3://' names no bucket. Write s3://bucket/prefix."):
        bucket("s3://")


def test_without_boto3_the_install_command_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *more: Any) -> Any:
        if name == "boto3":
            raise ImportError(name)
        return real(name, *more)

    monkeypatch.setattr(builtins, "__import__", without)  # boto3 is installed here
    with pytest.raises(ConfigError, match="A release store in S3 needs boto3. Run: uv sync --extra bedrock"):
        bucket("s3://b")


def test_what_a_killed_holder_left_is_taken_over_once_it_has_expired(s3_bucket: str) -> None:
    hands = Hands()
    storage = bucket(f"s3://{s3_bucket}", hands.clock())
    left = {"owner": "killed", "expires_at": (hands.at + timedelta(seconds=60)).isoformat()}
    storage.put("work.lock", json.dumps(left).encode())
    with pytest.raises(LockedError), storage.lock("work", wait=False):
        pass
    with storage.lock("work"):  # waiting moves the clock
        assert hands.at >= datetime(2026, 11, 1, 0, 1, tzinfo=UTC)
        kept = storage.get("work.lock")
        assert kept and json.loads(kept.data)["owner"] != "killed"
    with storage.lock("work", wait=False):
        pass


@pytest.mark.slow
def test_a_lease_is_renewed_while_it_is_held(s3_bucket: str) -> None:
    storage = bucket(f"s3://{s3_bucket}", LeaseClock(lease_s=0.3))
    with storage.lock("work"):
        first = storage.get("work.lock")
        while (now := storage.get("work.lock")) == first:  # the renewal ends this
            pass
        assert first and now
        before, after = (json.loads(one.data) for one in (first, now))
        assert before["owner"] == after["owner"]
        assert before["expires_at"] < after["expires_at"]


def test_a_holder_whose_lease_was_taken_over_is_told(s3_bucket: str) -> None:
    hands = Hands()
    storage = bucket(f"s3://{s3_bucket}", hands.clock())
    with pytest.raises(LockedError, match="lost to another process"), storage.lock("work"):
        hands.move(3600)  # it slept, and renewed nothing
        with bucket(f"s3://{s3_bucket}", hands.clock()).lock("work", wait=False):
            pass


def test_an_object_that_is_no_lock_is_an_error(s3_bucket: str) -> None:
    storage = bucket(f"s3://{s3_bucket}")
    for content in (b"", b"{}", b"[]", b'{"expires_at": 3}', b'{"expires_at": "soon"}'):
        storage.put("work.lock", content)
        with pytest.raises(StoreError, match=r"work\.lock is not a lock"), storage.lock("work", wait=False):
            pass


@pytest.mark.slow
def test_a_write_whose_answer_was_lost_and_that_was_sent_again_is_known_as_our_own(s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = bucket(f"s3://{s3_bucket}")
    send = storage._client.put_object

    def twice(**request: Any) -> Any:
        send(**request)
        return send(**request)  # as boto3 does when the connection broke before the answer came

    monkeypatch.setattr(storage._client, "put_object", twice)  # no server loses an answer when it is wanted
    version = storage.put_if("key", b"ours", expected=None)
    kept = storage.get("key")
    assert kept and version == kept.version
    assert storage.put_if("key", b"next", expected=version)
    assert bucket(f"s3://{s3_bucket}").put_if("key", b"ours", expected=None) is None


def test_a_conflict_with_a_write_under_way_is_asked_again(s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = bucket(f"s3://{s3_bucket}")
    send, tries = storage._client.put_object, []

    def busy(**request: Any) -> Any:
        tries.append(1)
        if len(tries) < 3:
            raise ClientError({"Error": {"Code": "ConditionalRequestConflict"}}, "PutObject")
        return send(**request)

    monkeypatch.setattr(storage._client, "put_object", busy)  # moto answers at once
    assert storage.put_if("key", b"x", expected=None)
    assert len(tries) == 3


def role(*, get: str = "*", list_below: str | None = "mine/*") -> Role:
    """A role that may get some objects, and list those below a prefix."""
    statements: list[Any] = [{"Effect": "Allow", "Action": ["s3:GetObject", "s3:PutObject"], "Resource": f"arn:aws:s3:::*/{get}"}]
    if list_below is not None:
        below = {"StringLike": {"s3:prefix": list_below}}
        statements.append({"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::*", "Condition": below})
    return Role([json.dumps({"Version": "2012-10-17", "Statement": statements})], {})


def test_a_role_that_may_list_only_its_prefix_tells_what_is_missing_from_what_is_forbidden(s3_bucket: str, s3_server: str) -> None:
    bucket(f"s3://{s3_bucket}/mine").put("there", b"words")
    with gateway(role(), Account("us-east-1", "1"), aws=s3_server) as address:
        mine = bucket(f"s3://{s3_bucket}/mine", s3_endpoint=address)
        assert mine.get("there") is not None
        assert list(mine.stream("there")) == [b"words"]
        assert mine.get("missing") is None
        assert list(mine.stream("missing")) == []
    with gateway(role(get="other/*"), Account("us-east-1", "1"), aws=s3_server) as address:
        forbidden = bucket(f"s3://{s3_bucket}/mine", s3_endpoint=address)
        with pytest.raises(StoreError, match="AccessDenied"):
            forbidden.get("there")
        with pytest.raises(StoreError, match="AccessDenied"):
            list(forbidden.stream("there"))
    blind = gateway(role(list_below=None), Account("us-east-1", "1"), aws=s3_server)
    with blind as address, pytest.raises(StoreError, match="s3:ListBucket"):
        bucket(f"s3://{s3_bucket}/mine", s3_endpoint=address).get("missing")


@pytest.mark.parametrize(("status", "body"), [(200, PAGE), (200, b""), (301, b"")])
def test_what_answers_as_no_s3_does_is_an_outage(monkeypatch: pytest.MonkeyPatch, status: int, body: bytes) -> None:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    with a_proxy(status, body, Location="/elsewhere") as endpoint:
        storage = bucket("s3://b/p", s3_endpoint=endpoint)
        calls: list[Callable[[], object]] = [
            lambda: storage.get("a"),
            lambda: storage.put("a", b"x"),
            lambda: storage.put_if("a", b"x", expected=None),
            lambda: list(storage.list()),
        ]
        for call in calls:
            with pytest.raises(StoreError, match=r"answers as no S3 does|failed|out of reach"):
                call()
