"""Authentication: the caller is the public, or the owner of an API key; a request cannot name its own identity or its rights."""

import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send
from structlog.typing import FilteringBoundLogger

from serving.app.core.oidc import TokenVerifier
from serving.app.core.problems import Rejected, forbidden, keys_unreadable, unauthenticated
from serving.app.settings import AppSettings
from serving.keys import SCOPES, Caller, Keys, find_caller, read_keys
from serving.keys import Scope as KeyScope
from serving.pipeline.errors import TouchstoneError
from serving.pipeline.types import Principal

CHECK_EVERY_S: Final = 1.0  # how often the keys file is looked at
PROTECTED: Final = "/v1/"  # what is below needs a key where keys are in force
EVERYONE: Final = Caller(id=Principal().id, scopes=frozenset(SCOPES))  # without keys: a server that listens on this machine alone
NEEDED: Final[Mapping[tuple[tuple[str, ...], str], KeyScope]] = {
    (("GET", "POST"), "/v1/admin"): "admin",
    (("POST",), "/v1/query"): "query",
    (("POST",), "/v1/retrieve"): "query",
    (("POST",), "/v1/dify/retrieval"): "query",
    (("POST",), "/v1/chat/completions"): "query",
    (("POST",), "/v1/responses"): "query",
    (("GET",), "/v1/models"): "query",
    (("GET", "POST", "DELETE"), "/v1/mcp"): "query",
    (("GET",), "/v1/release"): "query",
    (("GET",), "/v1/traces"): "query",
    (("POST",), "/v1/feedback"): "feedback",
    (("POST", "DELETE"), "/v1/documents"): "ingest",
    (("GET",), "/v1/documents"): "query",
}
ALSO_ENOUGH: Final[Mapping[tuple[str, str], KeyScope]] = {("GET", "/v1/documents"): "ingest"}  # who uploads may see what became of it


Refused = Callable[[Caller, str, str, Rejected], Awaitable[None]]  # told who is refused what: method and path


class KeyFile:
    """The keys in force: the file as it is now, looked at once a second while requests come.

    A file that became unreadable lets nobody in until it is right again: a key that was taken out of it must not go on working because
    of a typing mistake beside it.
    """

    def __init__(
        self,
        path: Path,
        log: FilteringBoundLogger,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._path = path
        self._now = now
        self._log = log
        self._clock = clock
        self._checked_at = clock()
        self._signature = _signature(path)
        self._keys: Keys | None = read_keys(path)

    def __len__(self) -> int:
        """How many keys are in force."""
        return len(self._keys or ())

    @property
    def unreadable(self) -> bool:
        """Whether the file cannot be read, so that every request is refused."""
        self._reload_if_changed()
        return self._keys is None

    def callers(self) -> tuple[Caller, ...]:
        """Whose keys are in force."""
        return tuple((self._keys or {}).values())

    def caller(self, authorization: str) -> Caller | None:
        """Who asks, by the `Authorization` header; None for no valid key, and a 503 while the file cannot be read."""
        self._reload_if_changed()
        if self._keys is None:
            raise keys_unreadable()
        scheme, _, token = authorization.partition(" ")
        return find_caller(self._keys, token.strip(), self._now()) if scheme.lower() == "bearer" else None

    def _reload_if_changed(self) -> None:
        """Read the file again where it has changed, at most once a second."""
        now = self._clock()
        if now - self._checked_at < CHECK_EVERY_S:
            return
        self._checked_at = now
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


class Authentication:
    """Middleware that identifies the caller before the request's body is read."""

    def __init__(self, app: ASGIApp, keys: KeyFile | None, tokens: TokenVerifier | None = None, refused: Refused | None = None) -> None:
        self._app = app
        self._keys = keys
        self._tokens = tokens
        self._refused = refused

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand on a request with its principal; a protected one without a valid key gets a 401."""
        if scope["type"] == "http" and scope["path"].startswith(PROTECTED):
            caller: Caller | None = None
            try:
                caller = await self._caller(scope)
                scope["state"] |= {"caller": caller, "principal": caller.principal()}
                _check_scope(caller, scope)
            except Rejected as error:
                if caller and self._refused:
                    await self._refused(caller, scope["method"], scope["path"], error)
                await error.problem.response()(scope, receive, send)
                return
        await self._app(scope, receive, send)

    async def _caller(self, scope: Scope) -> Caller:
        if self._keys is None and self._tokens is None:
            return EVERYONE
        authorization = Headers(scope=scope).get("authorization", "")
        caller = self._keys.caller(authorization) if self._keys is not None else None
        if caller is None and self._tokens is not None:
            kind, _, token = authorization.partition(" ")
            caller = await self._tokens.caller(token.strip()) if kind.lower() == "bearer" else None
        if caller is None:
            raise unauthenticated()
        return caller


def scope_of(method: str, path: str) -> KeyScope:
    """The scope that a request needs; what no line of the table covers is for administrators."""
    for (methods, prefix), scope in NEEDED.items():
        if method in methods and (path == prefix or path.startswith(f"{prefix}/")):
            return scope
    return "admin"


def _check_scope(caller: Caller, scope: Scope) -> None:
    needed = scope_of(scope["method"], scope["path"])
    others = (
        enough
        for (method, prefix), enough in ALSO_ENOUGH.items()
        if method == scope["method"] and (scope["path"] == prefix or scope["path"].startswith(f"{prefix}/"))
    )
    if caller.scopes.isdisjoint({needed, "admin", *others}):
        raise forbidden(needed)


def _signature(path: Path) -> tuple[int, ...]:
    """What changes when a file does; empty where there is none."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return (found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino)
