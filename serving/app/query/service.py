"""Answers one question: authentication, limits, timeout, pipeline."""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from fastapi import Request
from starlette.types import Receive

from serving.app.core.problems import ClientDisconnected, too_long
from serving.app.core.service import Service, service_of
from serving.app.core.telemetry import facts_of_query, facts_of_trace
from serving.app.query.body import read_body
from serving.app.query.wire import AnswerOut, QueryIn
from serving.pipeline.guard.placeholders import Placeholders
from serving.pipeline.pipeline import Emit, RagPipeline
from serving.pipeline.types import Principal, Query

T = TypeVar("T")


class QueryService:
    """An admitted question; `answer` runs the pipeline."""

    def __init__(self, service: Service, pipeline: RagPipeline, query: Query, facts: dict[str, Any], *, with_trace: bool) -> None:
        self._service = service
        self._pipeline = pipeline
        self._query = query
        self._facts = facts  # for the log
        self._with_trace = with_trace
        self._placeholders = Placeholders()

    @classmethod
    def admit(cls, request: Request, *, with_trace: bool) -> "QueryService":
        """Admit a question, or raise the reason against it."""
        service = service_of(request)
        principal: Principal = request.state.principal
        body = read_body(request, QueryIn)
        if len(body.question) > service.settings.max_question_chars:
            raise too_long(len(body.question), service.settings.max_question_chars)
        query = body.query(principal, request.state.request_id)
        request.state.facts |= facts_of_query(query)
        pipeline = service.loaded().pipeline
        return cls(service, pipeline, query, request.state.facts, with_trace=with_trace and service.settings.expose_trace)

    async def answer(self, emit: Emit | None = None) -> AnswerOut:
        """The answer, within the concurrency limit and the timeout."""
        async with asyncio.timeout(self._service.settings.request_timeout_s), self._service.concurrency.slot():
            trace = await self._pipeline.answer(self._query, emit=emit, observer=self._service.observers, placeholders=self._placeholders)
        self._facts |= facts_of_trace(trace)
        return AnswerOut.of(trace, self._placeholders, with_trace=self._with_trace)


async def cancel_on_disconnect(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine, which is cancelled when the client disconnects."""
    task, disconnect = asyncio.ensure_future(work), asyncio.ensure_future(_disconnected(receive))
    try:
        await asyncio.wait({task, disconnect}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnected
        return task.result()
    finally:
        for pending in (task, disconnect):
            pending.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await pending


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
