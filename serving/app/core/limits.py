"""Limits of concurrent questions and of the request body."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from serving.app.core.problems import ClientDisconnected, Rejected, too_busy, too_large, too_slow
from serving.pipeline.models.open_calls import OpenCalls


class ConcurrencyLimit:
    """Limits running and waiting questions, first come first served; a question beyond both limits is rejected at once."""

    def __init__(self, running: int, waiting: int, of: str = "questions") -> None:
        self._most = running + waiting
        self._of = of
        self._slots = asyncio.Semaphore(running)
        self._inside = 0
        self.running = 0
        self.abandoned = 0  # of the running, those whose caller is gone and whose calls have not ended

    @property
    def waiting(self) -> int:
        """How many wait for their turn."""
        return self._inside - self.running

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """A slot, held while a question is answered, and until the calls have ended that it began in threads."""
        if self._inside >= self._most:
            raise too_busy(self._of)
        self._inside += 1
        try:
            await self._slots.acquire()
        except BaseException:
            self._inside -= 1
            raise
        self.running += 1
        calls = OpenCalls()
        try:
            with calls.watch():
                yield
        finally:
            if calls.running:
                self.abandoned += 1
                calls.when_done(partial(self._end_later, asyncio.get_running_loop()))
            else:
                self._end()

    def _end(self) -> None:
        self.running -= 1
        self._inside -= 1
        self._slots.release()

    def _end_later(self, loop: asyncio.AbstractEventLoop) -> None:
        """Give an abandoned question's slot back; from the thread of its last call."""

        def end() -> None:
            self.abandoned -= 1
            self._end()

        with suppress(RuntimeError):  # the loop was closed: nobody counts any more
            loop.call_soon_threadsafe(end)


class UploadLimit:
    """Limits concurrent uploads, twice as many waiting; of one tenant to one less, so that its slow ones leave a place to the others."""

    def __init__(self, running: int) -> None:
        self._all = ConcurrencyLimit(running, 2 * running, "uploads")
        self._share = max(running - 1, 1)
        self._tenants: dict[str, ConcurrencyLimit] = {}  # those with uploads running or waiting

    @asynccontextmanager
    async def slot(self, tenant: str) -> AsyncIterator[None]:
        """A slot, held while an upload is received."""
        own = self._tenants.setdefault(tenant, ConcurrencyLimit(self._share, 2 * self._share, "uploads"))
        try:
            async with own.slot(), self._all.slot():
                yield
        finally:
            if not own.running and not own.waiting:
                self._tenants.pop(tenant, None)


class BodyLimit:
    """Middleware that reads the body of a request that has one to be read, whole, or rejects it when it is too large or too slow."""

    def __init__(self, app: ASGIApp, paths: frozenset[str], most: int, timeout_s: float) -> None:
        self._app = app
        self._paths = paths  # whose POST requests have a body; nobody reads another's
        self._most = most
        self._timeout_s = timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand the request on with its body, if it is within the limits."""
        if scope["type"] != "http" or scope["method"] != "POST" or scope["path"] not in self._paths:
            await self._app(scope, receive, send)
            return
        try:
            async with asyncio.timeout(self._timeout_s):
                scope["state"]["body"] = await self._read(Headers(scope=scope), receive)
        except TimeoutError:
            await too_slow().problem.response()(scope, receive, send)
        except Rejected as error:
            await error.problem.response()(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _read(self, headers: Headers, receive: Receive) -> bytes:
        declared = headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > self._most:
            raise too_large(self._most)
        body, more = bytearray(), True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnected
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > self._most:
                raise too_large(self._most)
        return bytes(body)
