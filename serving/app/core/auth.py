"""Authentication: the caller is the public, or the owner of an API key; a request cannot name its own identity."""

import hashlib
import hmac
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError

from serving.app.core.problems import unauthenticated
from serving.app.settings import AppSettings
from serving.pipeline.config import read_yaml
from serving.pipeline.errors import ConfigError
from serving.pipeline.types import PUBLIC, Principal

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class Caller(BaseModel):
    """One entry of the keys file: the owner of a key."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(min_length=1)
    tenant: str = Field(default=PUBLIC, min_length=1)
    groups: frozenset[str] = frozenset()
    domains: frozenset[str] | None = None  # None: every domain

    def principal(self) -> Principal:
        """The caller as the pipeline knows it."""
        return Principal(self.id, self.tenant, self.groups, self.domains)


Keys = Mapping[str, Caller]  # by the SHA-256 of the key
_KEYS = TypeAdapter(dict[Sha256, Caller])


def load_keys(settings: AppSettings) -> Keys | None:
    """The callers of the keys file, or None where none is set and everyone is the public."""
    if settings.api_keys is None:
        return None
    return read_keys(settings.api_keys)


def read_keys(path: Path) -> Keys:
    """The callers of a keys file; a file that is not one, or is empty, is an error and never an open door."""
    try:
        keys = _KEYS.validate_python(read_yaml(path))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part)[:12] for part in first["loc"])  # a key put there by mistake for its hash is not shown whole
        form = "sha256-of-the-key: {id: …, tenant: …, groups: […], domains: […]}"
        raise ConfigError(f"{path}: {where or 'file'}: {first['msg']}. Each entry is {form}.") from None
    if not keys:
        raise ConfigError(f"{path}: holds no key, so nobody could ask. Unset TOUCHSTONE_API_KEYS to let everyone ask as the public.")
    return keys


def principal_of(request: Request, keys: Keys | None) -> Principal:
    """Who asks; without a valid key where keys are in force, a 401."""
    if keys is None:
        return Principal()
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    caller = _find(keys, token.strip()) if scheme.lower() == "bearer" else None
    if caller is None:
        raise unauthenticated()
    return caller.principal()


def _find(keys: Keys, token: str) -> Caller | None:
    """The caller of a key; every entry is compared in constant time, so timing tells nothing of which came close."""
    digest = hashlib.sha256(token.encode()).hexdigest()
    owner: Caller | None = None
    for known, caller in keys.items():
        if hmac.compare_digest(known, digest):
            owner = caller
    return owner
