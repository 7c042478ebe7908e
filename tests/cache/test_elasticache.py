"""Signing in to ElastiCache: tokens as AWS documents them, a new one for every connection, and connections that do not grow too old."""

import asyncio
import hashlib
import hmac
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

import pytest
from botocore.credentials import Credentials, RefreshableCredentials
from botocore.exceptions import MetadataRetrievalError
from redis.asyncio import BlockingConnectionPool, Redis
from redis.exceptions import AuthenticationError

from serving.pipeline.errors import ConfigError
from serving.pipeline.redis.address import RedisAddress
from serving.pipeline.redis.elasticache import LASTS_S, OLDEST_S, IamCredentials
from serving.pipeline.settings import PipelineSettings
from serving.pipeline.types import Query
from tests.cache.making import ENTRY, Maker, get, put
from tests.support.elasticache import USERS, SharedCache, a_session, cache, pod
from tests.support.redis import a_secret
from tests.support.waiting import WITHIN_S

__all__ = ["cache", "pod"]

pytestmark = pytest.mark.usefixtures("pod")


def signature(secret: str, host: str, query: dict[str, str], region: str) -> str:
    """AWS's Signature Version 4 of a request without a body, worked out by hand."""
    date = query["X-Amz-Date"]
    scope = f"{date[:8]}/{region}/elasticache/aws4_request"
    named = "&".join(
        f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in sorted(query.items()) if name != "X-Amz-Signature"
    )
    canonical = "\n".join(["GET", "/", named, f"host:{host}\n", "host", hashlib.sha256(b"").hexdigest()])
    text = "\n".join(["AWS4-HMAC-SHA256", date, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.new(key, text.encode(), "sha256").hexdigest()


@pytest.mark.parametrize("token", ["a/session+token=", None])
def test_a_token_is_a_signed_request_to_connect_without_its_scheme(token: str | None) -> None:
    session = a_session("AKIDEXAMPLE", "a-secret", token)
    user, signed = IamCredentials("touchstone-dev", "touchstone-cache", "eu-central-1", session).get_credentials()
    parts = urlsplit(f"https://{signed}")
    query = dict(parse_qsl(parts.query, strict_parsing=True))
    assert user == "touchstone-dev" and signed.startswith("touchstone-cache/?Action=connect&User=touchstone-dev&")
    assert (parts.hostname, parts.path) == ("touchstone-cache", "/")
    assert (query["Action"], query["User"], query["X-Amz-Expires"]) == ("connect", "touchstone-dev", "900")
    assert (query["X-Amz-Algorithm"], query["X-Amz-SignedHeaders"]) == ("AWS4-HMAC-SHA256", "host")
    assert query["X-Amz-Credential"] == f"AKIDEXAMPLE/{query['X-Amz-Date'][:8]}/eu-central-1/elasticache/aws4_request"
    assert query.get("X-Amz-Security-Token") == token
    assert query["X-Amz-Signature"] == signature("a-secret", "touchstone-cache", query, "eu-central-1")
    assert query["X-Amz-Signature"] != signature("another", "touchstone-cache", query, "eu-central-1")
    assert LASTS_S == 15 * 60 and OLDEST_S < 12 * 3600  # what AWS allows


def test_a_token_is_signed_with_what_the_role_has_now() -> None:
    session = a_session()
    names = iter(("FIRST", "SECOND"))
    session._credentials = RefreshableCredentials.create_from_metadata(  # a pod's credentials, which are always about to run out
        metadata={"access_key": "NONE", "secret_key": "s", "token": "t", "expiry_time": "2020-01-01T00:00:00Z"},
        refresh_using=lambda: {"access_key": next(names), "secret_key": "s", "token": "t", "expiry_time": "2999-01-01T00:00:00Z"},
        method="a test",
    )
    provider = IamCredentials("u", "c", "us-east-1", session)
    assert "FIRST%2F" in provider.get_credentials()[1]
    session._credentials._expiry_time = session._credentials._expiry_time.replace(year=2020)
    assert "SECOND%2F" in provider.get_credentials()[1]


async def test_without_credentials_of_aws_a_connection_does_not_sign_in_and_says_why() -> None:
    session = a_session()
    session._credentials = None
    session.get_component("credential_provider").providers = []
    provider = IamCredentials("touchstone-dev", "c", "us-east-1", session)
    with pytest.raises(AuthenticationError, match="No credentials of AWS to sign in as 'touchstone-dev'"):
        await provider.get_credentials_async()

    def broken() -> Credentials:
        raise MetadataRetrievalError(error_msg="no agent")

    session.get_credentials = broken
    with pytest.raises(AuthenticationError, match="AWS gives no credentials to sign in as 'touchstone-dev': .*no agent"):
        await provider.get_credentials_async()


class Counted(IamCredentials):
    """Remembers every token it gave."""

    given: list[str]

    def get_credentials(self) -> tuple[str, str]:
        user, token = super().get_credentials()
        self.given.append(token)
        return user, token


@pytest.fixture
def tokens(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every token that is given to a connection."""
    Counted.given = []
    monkeypatch.setattr("serving.pipeline.redis.elasticache.IamCredentials", Counted)  # the class is looked up when a pool is opened
    return Counted.given


def pool_of(cache: SharedCache, **options: Any) -> BlockingConnectionPool:
    settings = PipelineSettings(_env_file=None, **cache.settings("dev"))
    return RedisAddress.of(settings).pool(BlockingConnectionPool, max_connections=1, **options)


async def test_a_connection_that_is_too_old_is_made_anew_with_a_new_token(cache: SharedCache, tokens: list[str]) -> None:
    now = [0.0]
    client = Redis.from_pool(pool_of(cache, oldest_s=60.0, seconds=lambda: now[0]))
    for at, signed_in in ((0.0, 1), (59.0, 1), (60.0, 2), (61.0, 2), (119.0, 2), (121.0, 3)):
        now[0] = at
        assert await client.ping()
        assert len(tokens) == signed_in, at
    await client.aclose()
    assert all("Action=connect" in token for token in tokens)


async def test_connections_that_the_cache_ended_sign_in_anew_and_nothing_is_lost(cache: SharedCache, tokens: list[str]) -> None:
    made = Maker("exact", cache.settings("dev") | {"cache_secret": a_secret()})()
    query = Query("How many days?")
    await put(made, query)
    before = len(tokens)
    with cache.owner() as owner:
        owner.client_kill_filter(_type="normal", skipme=True)  # as ElastiCache does 12 hours after they signed in
    assert (await get(made, query)).hit is not None
    assert len(tokens) > before
    assert made._answers.backend.link.errors == 0
    await made.aclose()


async def test_many_connections_that_begin_at_once_look_for_credentials_one_after_the_other(tokens: list[str], cache: SharedCache) -> None:
    settings = PipelineSettings(_env_file=None, **cache.settings("dev"))
    client = Redis.from_pool(RedisAddress.of(settings).pool(BlockingConnectionPool, max_connections=8, timeout=WITHIN_S))
    assert all(await asyncio.gather(*(client.ping() for _ in range(32))))
    assert 1 <= len(tokens) <= 8
    await client.aclose()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"redis_iam_cache": ""}, "TOUCHSTONE_REDIS_IAM_USER needs TOUCHSTONE_REDIS_IAM_CACHE"),
        ({"redis": "redis://cache:6379/0"}, "it begins with rediss://: tokens are secret"),
        ({"redis": "rediss://app:hunter2@cache:6379/0"}, "names a user or a password, .* leave one out"),
        ({"redis": "rediss://cache:6379/0?password=hunter2"}, "names a user or a password, .* leave one out"),
        ({"redis": "rediss://cache:port/0"}, "is no address of a Redis"),
    ],
)
def test_a_mistake_in_who_signs_in_is_told_when_the_cache_is_built(changes: dict[str, str], says: str) -> None:
    named = {"redis": "rediss://cache:6379/0", "redis_iam_user": USERS["dev"], "redis_iam_cache": "touchstone-cache"} | changes
    with pytest.raises(ConfigError, match=says) as caught:
        Maker("exact", named | {"cache_secret": a_secret()})()
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("prefix", ["", "touchstone:*", "*", "~", "a b"])
def test_a_prefix_is_a_word(prefix: str) -> None:
    with pytest.raises(ValueError, match="redis_prefix"):
        PipelineSettings(_env_file=None, redis_prefix=prefix)


async def test_a_token_is_never_logged(cache: SharedCache, tokens: list[str], caplog: pytest.LogCaptureFixture) -> None:
    lost = cache.settings("dev") | {"redis_iam_user": "nobody", "cache_secret": a_secret()}
    made = Maker("exact", lost)()
    for _ in range(4):
        await put(made, Query("How many days?"), ENTRY)
    assert caplog.text.count("is away; queries go on without it") == 1
    assert tokens and "Signature" not in caplog.text and not any(token in caplog.text for token in tokens)
    await made.aclose()


def test_settings_do_not_reach_redis_by_iam_unless_told_to(tmp_path: Path) -> None:
    address = RedisAddress.of(PipelineSettings(_env_file=None, redis="rediss://app:hunter2@cache:6379/0"))
    pool = address.pool(BlockingConnectionPool)
    assert pool.connection_kwargs["password"] == "hunter2" and "credential_provider" not in pool.connection_kwargs
    assert "hunter2" not in repr(address)
