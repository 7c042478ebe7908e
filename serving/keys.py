"""The file of API keys: callers by the SHA-256 of their keys; a key itself is in no file."""

import hashlib
import hmac
import secrets
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError

from serving.pipeline.config import read_yaml
from serving.pipeline.errors import ConfigError, DataError, StoreError
from serving.pipeline.plain_yaml import dump_plain
from serving.pipeline.registry import complaint
from serving.pipeline.types import PUBLIC, Principal
from serving.storage.files import write_text
from serving.storage.lock import file_lock

PREFIX: Final = "ts_"  # of every key that is made here: scanners of repositories know what they have found
SHOWN: Final = 8  # characters of a hash that name a key to its keeper

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Scope = Literal["query", "ingest", "feedback", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)


class Caller(BaseModel):
    """One entry of the keys file: the owner of a key, and what the key is good for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(min_length=1)
    tenant: str = Field(default=PUBLIC, min_length=1)
    groups: frozenset[str] = frozenset()
    domains: frozenset[str] | None = None  # None: every domain
    scopes: frozenset[Scope] = frozenset({"query", "feedback"})
    per_minute: int | None = Field(default=None, ge=1)  # requests; None: as many as the server takes
    usd_per_day: float | None = Field(default=None, ge=0.0, allow_inf_nan=False)  # None: no budget of its own
    created: AwareDatetime | None = None
    expires: AwareDatetime | None = None  # None: never

    def principal(self) -> Principal:
        """The caller as the pipeline knows it."""
        return Principal(self.id, self.tenant, self.groups, self.domains)

    def valid(self, now: datetime) -> bool:
        """Whether the key has not expired."""
        return self.expires is None or now < self.expires


Keys = Mapping[str, Caller]  # by the SHA-256 of the key
_KEYS = TypeAdapter(dict[Sha256, Caller])


def read_keys(path: Path) -> Keys:
    """The callers of a keys file; a file that is not one, or is empty, is an error and never an open door."""
    keys = _parsed(path)
    if not keys:
        raise ConfigError(f"{path}: holds no key, so nobody could ask. Make one: touchstone key create ID --keys {path}")
    return keys


def find_caller(keys: Keys, token: str, now: datetime) -> Caller | None:
    """The caller of a key; every entry is compared in constant time, so timing tells nothing of which came close."""
    digest = hash_of(token)
    owner: Caller | None = None
    for known, caller in keys.items():
        if hmac.compare_digest(known, digest):
            owner = caller
    return owner if owner and owner.valid(now) else None


def hash_of(key: str) -> str:
    """What the file keeps of a key."""
    return hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()


def create_key(path: Path, caller: Caller) -> str:
    """Add a caller with a new key, which is returned and kept nowhere."""
    key = PREFIX + secrets.token_urlsafe(32)
    _change(path, lambda keys: {**keys, hash_of(key): caller.model_copy(update={"created": _now()})})
    return key


def revoke_key(path: Path, name: str) -> dict[str, Caller]:
    """Remove a key, by how its hash begins, or every key of an id; those that were removed."""
    gone: dict[str, Caller] = {}

    def without(keys: Keys) -> dict[str, Caller]:
        gone.update(_named(keys, name, path))
        return {digest: caller for digest, caller in keys.items() if digest not in gone}

    _change(path, without)
    return gone


def rotate_key(path: Path, name: str, overlap: datetime) -> str:
    """A new key for a caller, whose old one works until the overlap ends."""
    key = PREFIX + secrets.token_urlsafe(32)

    def rotated(keys: Keys) -> dict[str, Caller]:
        found = _named(keys, name, path)
        if len(found) > 1:
            hashes = ", ".join(digest[:SHOWN] for digest in found)
            raise ConfigError(f"{name!r} has {len(found)} keys: {hashes}. Name the one to replace by its hash.")
        [(digest, caller)] = found.items()
        ends = min(overlap, caller.expires) if caller.expires else overlap
        old = caller.model_copy(update={"expires": ends})
        return {**keys, digest: old, hash_of(key): caller.model_copy(update={"created": _now()})}

    _change(path, rotated)
    return key


def _named(keys: Keys, name: str, path: Path) -> dict[str, Caller]:
    found = {digest: caller for digest, caller in keys.items() if caller.id == name or (len(name) >= SHOWN and digest.startswith(name))}
    if not found:
        ids = ", ".join(sorted({caller.id for caller in keys.values()})) or "none"
        raise DataError(f"{path}: no key {name!r}. Name an id, or the first {SHOWN} characters or more of a key's hash. Ids: {ids}.")
    return found


def _change(path: Path, change: Callable[[Keys], dict[str, Caller]]) -> None:
    """Rewrite the file whole, while nobody else does."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with file_lock(path.with_name(f".{path.name}.lock")):
            keys = change(_parsed(path) if path.exists() else {})
            plain = {digest: _plain(caller) for digest, caller in keys.items()}
            write_text(path, dump_plain(plain) if plain else "{}\n")
    except OSError as error:
        raise StoreError(f"{path} could not be written: {error.strerror or error}.") from error


def _plain(caller: Caller) -> dict[str, Any]:
    data = caller.model_dump(mode="json", exclude_defaults=True)
    return {name: sorted(value) if isinstance(value, list) else value for name, value in data.items()}


def _parsed(path: Path) -> dict[str, Caller]:
    try:
        return _KEYS.validate_python(read_yaml(path))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part)[:12] for part in first["loc"])  # a key put there by mistake for its hash is not shown whole
        form = "sha256-of-the-key: {id: …, tenant: …, groups: […], domains: […], scopes: […]}"
        raise ConfigError(f"{path}: {where or 'file'}: {complaint(first)}. Each entry is {form}.") from None


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)
