import asyncio
import base64
import io
import json
import socket
import threading
import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from serving.app.core.oidc import AGAIN_S, ALGORITHMS, FRESH_S, STALE_S, TokenVerifier, fetch_json
from serving.app.core.problems import Rejected
from serving.app.core.telemetry import make_logger
from serving.app.settings import AppSettings
from serving.keys import Caller
from serving.pipeline.errors import ConfigError, StoreError
from tests.app.core.test_auth import bearer
from tests.app.making import QUESTION, House, opened

ISSUER, AUDIENCE = "https://login.example.com/acme", "touchstone"
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER = rsa.generate_private_key(public_exponent=65537, key_size=2048)
CURVE = ec.generate_private_key(ec.SECP256R1())
DAY_S = 86_400


def public(key: Any, ident: str) -> dict[str, Any]:
    algorithm = jwt.algorithms.RSAAlgorithm if key in (RSA, OTHER) else jwt.algorithms.ECAlgorithm
    return {**json.loads(algorithm.to_jwk(key.public_key())), "kid": ident, "use": "sig"}


def token(key: Any = RSA, ident: str = "k1", algorithm: str = "RS256", **claims: Any) -> str:
    now = int(time.time())
    said = {"sub": "ann", "iss": ISSUER, "aud": AUDIENCE, "iat": now, "exp": now + DAY_S, "tenant": "acme", "groups": ["hr"], **claims}
    kept = {name: value for name, value in said.items() if value is not None}
    return jwt.encode(kept, key, algorithm=algorithm, headers={"kid": ident})


class Provider:
    """An identity provider: what it publishes, and how often it was asked."""

    def __init__(self, *keys: dict[str, Any]) -> None:
        self.keys = list(keys) or [public(RSA, "k1"), public(CURVE, "k2")]
        self.asked: list[str] = []
        self.out = False

    def __call__(self, address: str) -> Any:
        self.asked.append(address)
        if self.out:
            raise StoreError("no answer")
        if address == f"{ISSUER}/.well-known/openid-configuration":
            return {"issuer": ISSUER, "jwks_uri": f"{ISSUER}/keys"}
        return {"keys": self.keys}


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def settings(**changes: Any) -> AppSettings:
    return AppSettings(_env_file=None, **({"oidc_issuer": ISSUER, "oidc_audience": AUDIENCE} | changes))


def verifier(provider: Provider, clock: Clock | None = None, **changes: Any) -> TokenVerifier:
    of = settings(**changes)
    return TokenVerifier(of, make_logger(of, io.StringIO()), fetch=provider, clock=clock or Clock())


async def test_a_token_tells_who_asks_and_what_it_may() -> None:
    provider = Provider()
    known = verifier(provider)
    assert await known.caller(token()) == Caller(id="ann@login.example.com", tenant="acme", groups=frozenset({"hr"}))
    curved = await known.caller(token(CURVE, "k2", "ES256", scope="openid touchstone:ingest touchstone:unknown", groups=None))
    assert curved == Caller(id="ann@login.example.com", tenant="acme", scopes=frozenset({"ingest"}))
    assert len(provider.asked) == 2  # the configuration and the keys, once


def unsigned() -> str:
    parts = [{"alg": "none", "kid": "k1"}, {"sub": "ann", "iss": ISSUER, "aud": AUDIENCE, "exp": 9999999999}]
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts) + "."


def signed_with_the_published_key() -> str:
    """What a verifier takes that lets the token choose between a secret and a public key."""
    secret = RSA.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    head, body = ({"alg": "HS256", "kid": "k1"}, {"sub": "ann", "iss": ISSUER, "aud": AUDIENCE, "exp": 9999999999})
    text = ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in (head, body))
    import hashlib
    import hmac

    return f"{text}.{base64.urlsafe_b64encode(hmac.new(secret, text.encode(), hashlib.sha256).digest()).decode().rstrip('=')}"


@pytest.mark.parametrize(
    "wrong",
    [
        token(OTHER),
        token(ident="unknown"),
        token(aud="another-service"),
        token(iss="https://login.example.com/other"),
        token(exp=int(time.time()) - 60),
        token(nbf=int(time.time()) + DAY_S // 2),
        token(exp=None),
        token(sub=None),
        token(aud=None),
        token(groups="hr"),
        token(groups=[1]),
        token(tenant=["acme"]),
        token(tenant=""),
        token(tenant=0),
        token(tenant=[]),
        token(groups=""),
        token()[:-4] + "AAAA",
        unsigned(),
        signed_with_the_published_key(),
        "no token",
        "a.b.c",
        "",
        "é",
    ],
)
async def test_a_token_that_is_not_ours_opens_nothing(wrong: str) -> None:
    assert await verifier(Provider()).caller(wrong) is None


async def test_a_new_key_is_looked_for_once_a_minute_and_a_withdrawn_one_ends_within_the_hour() -> None:
    provider, clock = Provider(public(RSA, "k1")), Clock()
    known = verifier(provider, clock)
    assert await known.caller(token()) is not None
    provider.keys = [public(OTHER, "k9")]
    for _ in range(20):
        assert await known.caller(token(OTHER, "k9")) is None  # nobody makes us ask more often
    assert len(provider.asked) == 2
    clock.now += AGAIN_S
    assert await known.caller(token(OTHER, "k9")) is not None
    clock.now += FRESH_S
    assert await known.caller(token()) is None


async def test_while_the_provider_is_out_known_keys_serve_for_a_day_and_then_nobody_is_let_in() -> None:
    provider, clock = Provider(), Clock()
    known = verifier(provider, clock)
    assert await known.caller(token()) is not None
    provider.out = True
    clock.now += STALE_S - 1
    assert await known.caller(token()) is not None
    clock.now += 1
    with pytest.raises(Rejected) as caught:
        await known.caller(token())
    assert caught.value.problem.status == 503


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"oidc_audience": ""}, "TOUCHSTONE_OIDC_AUDIENCE is needed"),
        ({"oidc_issuer": "http://login.example.com"}, "https://"),
        ({"oidc_issuer": "file:///etc/passwd"}, "https://"),
    ],
)
def test_what_would_take_anybodys_tokens_stops_the_start(changes: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        verifier(Provider(), **changes)


async def test_keys_and_tokens_are_taken_side_by_side(furnished: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.app.core.oidc.fetch_json", Provider())  # the network, which no test reaches
    async with opened(furnished.settings(oidc_issuer=ISSUER, oidc_audience=AUDIENCE)) as api:

        async def status(said: str) -> int:
            return (await api.client.post("/v1/query", json={"question": QUESTION}, headers=bearer(said))).status_code

        assert [await status(said) for said in (token(), token(OTHER), "x")] == [200, 401, 401]
        assert (await api.client.post("/v1/query", json={"question": QUESTION})).status_code == 401
        assert await status(token(scope="touchstone:feedback")) == 403
        assert token() not in api.log_text


@pytest.mark.parametrize("ident", ["k1", "k2"])
@pytest.mark.parametrize("algorithm", [*ALGORITHMS, "none", "HS256", "", None, []])
async def test_a_token_that_names_another_algorithm_than_its_key_is_of_is_no_ones(ident: str, algorithm: object) -> None:
    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    forged = f"{part({'alg': algorithm, 'kid': ident})}.{part({'sub': 'ann'})}.{part('x' * 300)}"
    assert await verifier(Provider()).caller(forged) is None


async def test_scopes_that_are_no_words_give_none_of_ours() -> None:
    found = await verifier(Provider()).caller(token(scope=7))
    assert found is not None
    assert found.scopes == {"query", "feedback"}


async def test_a_token_by_a_known_key_waits_for_no_look_at_the_provider() -> None:
    provider, clock = Provider(), Clock()
    asked, go = threading.Event(), threading.Event()

    def slow(address: str) -> Any:
        asked.set()
        assert go.wait(30)
        return provider(address)

    known = verifier(provider, clock)
    assert await known.caller(token()) is not None
    known._fetch = slow
    for passed_s, ident in ((AGAIN_S, "unknown"), (FRESH_S, "k1")):  # somebody names a new key; the known ones are old
        clock.now += passed_s
        looking = asyncio.create_task(known.caller(token(ident=ident)))
        try:
            await asyncio.to_thread(asked.wait, 30)
            assert await asyncio.wait_for(known.caller(token()), 30) is not None
            assert not looking.done()
        finally:
            go.set()
            await looking
        asked.clear()
        go.clear()


def test_an_answer_that_is_no_http_is_an_outage_of_the_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"NONSENSE\r\n\r\n")

        threading.Thread(target=answer, daemon=True).start()
        with pytest.raises(StoreError, match="does not answer as it should"):
            fetch_json(f"http://127.0.0.1:{server.getsockname()[1]}/keys")
