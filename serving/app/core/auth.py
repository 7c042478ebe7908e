"""Authentication: the caller is the public, or the owner of an API key; a request cannot name its own identity."""

import hashlib
import hmac
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send
from structlog.typing import FilteringBoundLogger

from serving.app.core.problems import Rejected, keys_unreadable, unauthenticated
from serving.app.settings import AppSettings
from serving.pipeline.config import read_yaml
from serving.pipeline.errors import ConfigError, TouchstoneError
from serving.pipeline.types import PUBLIC, Principal

LOOK_S: Final = 1.0  # how often the keys file is looked at
PROTECTED: Final = "/v1/"  # what is below needs a key where keys are in force

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


class KeyFile:
    """The keys in force: the file as it is now, looked at once a second while requests come.

    A file that became unreadable lets nobody in until it is right again: a key that was taken out of it must not go on working because
    of a typing mistake beside it.
    """

    def __init__(self, path: Path, log: FilteringBoundLogger, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._log = log
        self._clock = clock
        self._looked_at = clock()
        self._signature = _signature(path)
        self._keys: Keys | None = read_keys(path)

    def __len__(self) -> int:
        """How many keys are in force."""
        return len(self._keys or ())

    def principal(self, authorization: str) -> Principal | None:
        """Who asks, by the `Authorization` header; None for no valid key, and a 503 while the file cannot be read."""
        self._look()
        if self._keys is None:
            raise keys_unreadable()
        scheme, _, token = authorization.partition(" ")
        caller = _find(self._keys, token.strip()) if scheme.lower() == "bearer" else None
        return caller.principal() if caller else None

    def _look(self) -> None:
        now = self._clock()
        if now - self._looked_at < LOOK_S:
            return
        self._looked_at = now
        signature = _signature(self._path)
        if signature == self._signature and self._keys is not None:
            return
        try:
            keys = read_keys(self._path)
        except TouchstoneError as error:
            if self._keys is not None or signature != self._signature:
                self._log.error("keys unreadable", path=str(self._path), reason=str(error), effect="nobody is let in")
            self._keys = None
        else:
            self._log.warning("keys read again", path=str(self._path), keys=len(keys))
            self._keys = keys
        self._signature = signature


def load_keys(settings: AppSettings, log: FilteringBoundLogger) -> KeyFile | None:
    """The keys in force, or None where no file is set and everyone is the public."""
    return None if settings.api_keys is None else KeyFile(settings.api_keys, log)


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


class Authentication:
    """Middleware that knows who asks before anything of the request's body is read."""

    def __init__(self, app: ASGIApp, keys: KeyFile | None) -> None:
        self._app = app
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand on a request with its principal; a protected one without a valid key gets a 401."""
        if scope["type"] == "http" and scope["path"].startswith(PROTECTED):
            try:
                scope["state"]["principal"] = self._principal(scope)
            except Rejected as error:
                await error.problem.response()(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _principal(self, scope: Scope) -> Principal:
        if self._keys is None:
            return Principal()
        principal = self._keys.principal(Headers(scope=scope).get("authorization", ""))
        if principal is None:
            raise unauthenticated()
        return principal


def _signature(path: Path) -> tuple[int, ...]:
    """What changes when a file does; empty where there is none."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return (found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino)


def _find(keys: Keys, token: str) -> Caller | None:
    """The caller of a key; every entry is compared in constant time, so timing tells nothing of which came close."""
    digest = hashlib.sha256(token.encode()).hexdigest()
    owner: Caller | None = None
    for known, caller in keys.items():
        if hmac.compare_digest(known, digest):
            owner = caller
    return owner
