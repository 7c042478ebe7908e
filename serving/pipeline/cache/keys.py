"""Keyed names of entries: without the deployment's secret they can neither be guessed nor forged."""

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from typing import Final

from serving.pipeline.cache.base import CacheContext
from serving.pipeline.cache.normal import normalised
from serving.pipeline.errors import ConfigError

LEAST_SECRET: Final = 32  # characters


@dataclass(frozen=True, slots=True)
class EntryKey:
    """The key of an answer."""

    release: str  # digest of the configuration: to count and to clear by, no secret
    scope: str  # of the context
    question: str  # of the question in its context


class CacheKeys:
    """Names and seals by HMAC-SHA256 with one secret."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    @classmethod
    def of(cls, secret: str) -> "CacheKeys":
        """With the secret of a deployment; without one, with a secret that this process alone knows."""
        if not secret:
            return cls(secrets.token_bytes(LEAST_SECRET))
        if len(secret) < LEAST_SECRET:
            raise ConfigError(f"TOUCHSTONE_CACHE_SECRET has {len(secret)} characters; {LEAST_SECRET} are the least. {make_one()}")
        return cls(secret.encode())

    def entry(self, context: CacheContext, question: str) -> EntryKey:
        """The key of a question in its context."""
        scope = self.mac("scope", context.key)
        return EntryKey(context.config, scope, self.mac("question", scope, normalised(question)))

    def mac(self, *parts: str | bytes) -> str:
        """The keyed hash of some parts, none of which can run into the next."""
        digest = hmac.new(self._secret, digestmod=hashlib.sha256)
        for part in parts:
            data = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
            digest.update(len(data).to_bytes(8, "big") + data)
        return digest.hexdigest()


def make_one() -> str:
    """How to make a secret."""
    return "Make one: python -c 'import secrets; print(secrets.token_urlsafe(32))'"
