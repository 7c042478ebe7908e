"""A stand-in for the cache of the cluster: a real redis-server over TLS with the users that Terraform makes, and nobody else.

It takes any token, where ElastiCache asks IAM; what a user may do is judged as there.
"""

import datetime
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from botocore.session import Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from redis import Redis

from tests.support.redis import RedisServer, patient_with_redis, running_redis

ROOT = Path(__file__).parents[2]
NAMES: dict[str, Any] = json.loads((ROOT / "infra/terraform/cluster/names.auto.tfvars.json").read_text(encoding="utf-8"))["names"]
USERS: dict[str, str] = NAMES["cache_users"]
ACCESS: dict[str, str] = NAMES["cache_access"]
OWNER, PASSWORD = "owner", "of-a-test"


@dataclass(frozen=True)
class SharedCache:
    """The one cache of all channels."""

    server: RedisServer
    certificate: Path

    @property
    def url(self) -> str:
        """What `TOUCHSTONE_REDIS` is in every channel."""
        return f"rediss://127.0.0.1:{self.server.port}/0?ssl_ca_certs={self.certificate}"

    def settings(self, channel: str) -> dict[str, Any]:
        """What a pod of a channel is told of it."""
        user = USERS[channel]
        return {"redis": self.url, "redis_prefix": user, "redis_iam_user": user, "redis_iam_cache": NAMES["cache"]}

    @contextmanager
    def owner(self) -> Iterator["Redis"]:
        """Somebody who may do everything, as AWS may."""
        with Redis(
            host="127.0.0.1", port=self.server.port, username=OWNER, password=PASSWORD, ssl=True, ssl_ca_certs=str(self.certificate)
        ) as client:
            yield client


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedCache]:
    """With the user of each channel and its access string as Terraform is given it; without a default user."""
    folder = tmp_path_factory.mktemp("cache")
    certificate, key = _certificate(folder)
    options = ["--port", "0", "--tls-cert-file", str(certificate), "--tls-key-file", str(key), "--tls-auth-clients", "no"]
    for channel, user in USERS.items():
        options += ["--user", user, "nopass", *ACCESS[channel].split()]
    options += ["--user", OWNER, "on", f">{PASSWORD}", "~*", "&*", "+@all", "--user", "default", "off"]
    for server in running_redis(folder, *options, tls=True):
        yield SharedCache(server, certificate)


@pytest.fixture
def pod(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials of AWS, and patience with Redis: what is tried are rights, however busy this machine is."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-secret")
    patient_with_redis(monkeypatch)


def a_session(key: str = "AKIDEXAMPLE", secret: str = "a-secret", token: str | None = "a-token") -> Session:
    """A session of AWS with credentials as a pod's role has them."""
    session = Session()
    session.set_credentials(key, secret, token)
    return session


def _certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate of this machine's own, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate, secret = folder / "cache.crt", folder / "cache.key"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption())
    )
    return certificate, secret
