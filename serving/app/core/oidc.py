"""Bearer tokens of an identity provider (OpenID Connect): verified by its published keys, which are kept for a while."""

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from http.client import HTTPException
from typing import Any, Final
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from pydantic import ValidationError
from structlog.typing import FilteringBoundLogger

from serving.app.core.problems import keys_unreadable
from serving.app.settings import AppSettings
from serving.keys import SCOPES, Caller
from serving.pipeline.errors import ConfigError, InfrastructureError, StoreError
from serving.pipeline.packages import install_command
from serving.pipeline.types import PUBLIC

ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA")  # asymmetric ones: a published key signs nothing
FRESH_S: Final = 3600.0  # how long keys are taken as they were
STALE_S: Final = 86_400.0  # how long they still serve while the provider cannot be reached
AGAIN_S: Final = 60.0  # between two looks because of a key that is not known
TIMEOUT_S: Final = 3.0
MOST_BYTES: Final = 256 * 1024
LEEWAY_S: Final = 30.0  # by which clocks may differ
SCOPE_PREFIX: Final = "touchstone:"

Fetch = Callable[[str], Any]


class TokenVerifier:
    """Verifies bearer tokens, and reads the caller from them."""

    def __init__(
        self, settings: AppSettings, log: FilteringBoundLogger, *, fetch: Fetch | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        try:
            import jwt
        except ImportError as error:
            raise ConfigError(f"TOUCHSTONE_OIDC_ISSUER needs PyJWT ({error}). Install it: {install_command('oidc')}") from error
        if not settings.oidc_audience:
            raise ConfigError("TOUCHSTONE_OIDC_AUDIENCE is needed with an issuer: without it tokens for other services would be taken.")
        _check_address(settings.oidc_issuer)
        self._jwt = jwt
        self._settings = settings
        self._log = log
        self._fetch = fetch or fetch_json
        self._clock = clock
        self._keys: Mapping[str, Any] = {}  # by id
        self._fetched_at = -STALE_S
        self._tried_at = -STALE_S
        self._lock = asyncio.Lock()

    async def caller(self, token: str) -> Caller | None:
        """Whose token it is; None where it is not valid, and a 503 while no keys are to be had."""
        unfit = (self._jwt.PyJWTError, TypeError, ValueError, RecursionError)  # of a key that is of another kind than the token says, too
        try:
            ident = str(self._jwt.get_unverified_header(token).get("kid", ""))
        except unfit:
            return None
        key = await self._key(ident)
        if key is None:
            return None
        try:
            claims = self._jwt.decode(
                token,
                key,
                algorithms=list(ALGORITHMS),
                audience=self._settings.oidc_audience,
                issuer=self._settings.oidc_issuer,
                leeway=LEEWAY_S,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except unfit:
            return None
        return caller_of(claims, self._settings)

    async def _key(self, ident: str) -> Any | None:
        """The key of an id. A known one waits for no look at the provider, unless it is old and this is who looks."""
        age_s = self._clock() - self._fetched_at
        if ident in self._keys and (age_s < FRESH_S or (age_s < STALE_S and self._lock.locked())):
            return self._keys[ident]
        async with self._lock:
            now = self._clock()
            old, unknown = now - self._fetched_at >= FRESH_S, ident not in self._keys
            if (old or unknown) and now - self._tried_at >= AGAIN_S:
                self._tried_at = now
                await self._refresh(now)
            if now - self._fetched_at >= STALE_S:
                raise keys_unreadable()
            return self._keys.get(ident)

    async def _refresh(self, now: float) -> None:
        try:
            self._keys = await asyncio.to_thread(self._published)
            self._fetched_at = now
        except InfrastructureError as error:
            self._log.error("identity provider not reached", issuer=self._settings.oidc_issuer, reason=str(error))

    def _published(self) -> Mapping[str, Any]:
        """The keys that the provider publishes now."""
        issuer = self._settings.oidc_issuer.rstrip("/")
        try:
            address = self._settings.oidc_keys or str(self._fetch(f"{issuer}/.well-known/openid-configuration")["jwks_uri"])
            _check_address(address)
            found = self._jwt.PyJWKSet.from_dict(self._fetch(address)).keys
        except (KeyError, TypeError, ConfigError, self._jwt.PyJWTError) as error:
            raise StoreError(f"{issuer} publishes no keys that can be read: {error}") from error
        return {str(key.key_id or ""): key.key for key in found}


def caller_of(claims: Mapping[str, Any], settings: AppSettings) -> Caller | None:
    """The caller that a token's claims describe; None where they do not fit, since a half-understood claim opens too much or too little."""
    tenant, groups, scopes = (
        claims.get(name) for name in (settings.oidc_tenant_claim, settings.oidc_groups_claim, settings.oidc_scopes_claim)
    )
    named = scopes.split() if isinstance(scopes, str) else scopes if isinstance(scopes, list) else []
    granted = {word.removeprefix(SCOPE_PREFIX) for word in named if str(word).startswith(SCOPE_PREFIX)}
    rights = {"scopes": [scope for scope in SCOPES if scope in granted]} if granted else {}
    host = urlsplit(settings.oidc_issuer).hostname
    try:
        who = {"id": f"{claims['sub']}@{host}", "tenant": PUBLIC if tenant is None else tenant, "groups": [] if groups is None else groups}
        return Caller.model_validate(who | rights)
    except ValidationError:
        return None


def fetch_json(address: str) -> Any:
    """A JSON document by HTTP, bounded in size and time."""
    try:
        with urlopen(Request(address, headers={"Accept": "application/json"}), timeout=TIMEOUT_S) as response:  # noqa: S310 — checked
            data = response.read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise StoreError(f"{address} has more than {MOST_BYTES} bytes.")
        return json.loads(data)
    except (OSError, ValueError, HTTPException) as error:
        raise StoreError(f"{address} does not answer as it should: {error}") from error


def _check_address(address: str) -> None:
    parts = urlsplit(address)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in ("127.0.0.1", "localhost", "::1")):
        raise ConfigError(f"An identity provider is named by its https:// address, not {address!r}.")
