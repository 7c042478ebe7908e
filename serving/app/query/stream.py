"""Server-Sent Events: the answer's tokens as they are written, then the whole answer."""

import asyncio
from contextlib import suppress
from typing import Any, Protocol

from pydantic import BaseModel
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from serving.app.core.problems import ClientDisconnected, Problem, problem_of
from serving.app.query.jsontext import json_text
from serving.app.query.service import QueryService, cancel_on_disconnect
from serving.app.query.wire import AnswerOut

PING_S = 15.0  # a comment after this long without an event keeps proxies from closing the connection
PING = b": still working\n\n"


class StreamFormat(Protocol):
    """The format of a stream; each method returns whole events."""

    def begin(self) -> bytes:
        """Before the first text."""
        ...

    def text(self, text: str) -> bytes:
        """A piece of the answer."""
        ...

    def end(self, answer: AnswerOut) -> bytes:
        """After the last text."""
        ...

    def failed(self, problem: Problem) -> bytes:
        """In place of the end."""
        ...


class NativeFormat:
    """`token` events, then one `answer`, or one `error`."""

    def begin(self) -> bytes:
        """Nothing."""
        return b""

    def text(self, text: str) -> bytes:
        """A token."""
        return event("token", {"text": text})

    def end(self, answer: AnswerOut) -> bytes:
        """The whole answer."""
        return event("answer", answer)

    def failed(self, problem: Problem) -> bytes:
        """The problem."""
        return event("error", problem.body)


class AnswerStream(Response):
    """An answer as it is written; a failure before the first event is a plain problem with its status."""

    media_type = "text/event-stream"

    def __init__(self, query: QueryService, form: StreamFormat | None = None, *, ping_s: float = PING_S) -> None:
        super().__init__(headers={"X-Accel-Buffering": "no"})  # nginx must not buffer the events
        del self.headers["content-length"]
        self._query = query
        self._form: StreamFormat = form or NativeFormat()
        self._ping_s = ping_s
        self._events: asyncio.Queue[bytes | None] = asyncio.Queue()  # None: there will be no more
        self._token_sent = False
        self._started = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events; the query is cancelled when the client disconnects."""
        try:
            await cancel_on_disconnect(receive, self._run(send))
        except ClientDisconnected:
            raise
        except Exception as error:
            if not self._started:
                raise
            scope["state"]["error"] = error  # the status is sent already: the failure has to be an event
            await self._write(send, self._form.failed(problem_of(error)), more=False)

    async def _run(self, send: Send) -> None:
        work = asyncio.ensure_future(self._query.answer(self._emit))
        work.add_done_callback(lambda _: self._events.put_nowait(None))
        try:
            while (data := await self._next()) is not None:
                await self._write(send, data)
            answer = work.result()
            if not self._token_sent:  # cached, blocked or withheld until checked: no token was streamed
                await self._write(send, self._form.begin() + self._form.text(answer.answer))
            await self._write(send, self._form.end(answer), more=False)
        finally:
            work.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await work

    def _emit(self, text: str) -> None:
        begun, self._token_sent = self._token_sent, True
        self._events.put_nowait((b"" if begun else self._form.begin()) + self._form.text(text))

    async def _next(self) -> bytes | None:
        """The next event, or a comment when none came for long."""
        try:
            async with asyncio.timeout(self._ping_s):
                return await self._events.get()
        except TimeoutError:
            return PING

    async def _write(self, send: Send, data: bytes, *, more: bool = True) -> None:
        if not self._started:
            self._started = True
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": data, "more_body": more})


def event(name: str, data: BaseModel | dict[str, Any]) -> bytes:
    """One event; its data is one line."""
    return b"event: %s\ndata: %s\n\n" % (name.encode(), json_text(data))
