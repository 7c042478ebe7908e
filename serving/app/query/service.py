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
from serving.app.release.trial import Assignment, RoleObserver
from serving.keys import Caller
from serving.pipeline.answer.answerer import Emit
from serving.pipeline.answer.resilient import WhenDown
from serving.pipeline.deadline import within
from serving.pipeline.guard.placeholders import Placeholders
from serving.pipeline.observer import Observers
from serving.pipeline.types import Principal, Query, Trace

T = TypeVar("T")


class QueryService:
    """An admitted question; `answer` runs the pipeline."""

    def __init__(
        self, service: Service, assignment: Assignment, caller: Caller, query: Query, key: str, facts: dict[str, Any], *, with_trace: bool
    ) -> None:
        self._service = service
        self._assignment = assignment
        self._caller = caller
        self._query = query
        self._key = key  # of the caller: which release answers goes by it
        self._facts = facts  # for the log
        self._with_trace = with_trace
        self._placeholders = Placeholders()
        self._running = False  # whether the release is being asked: what fails before or after is not its failure

    @classmethod
    def admit(cls, request: Request, *, with_trace: bool) -> "QueryService":
        """Admit a question, or raise the reason against it."""
        return cls.of(request, read_body(request, QueryIn), with_trace=with_trace)

    @classmethod
    def of(cls, request: Request, body: QueryIn, *, with_trace: bool = False) -> "QueryService":
        """Admit a question that came in another form."""
        service = service_of(request)
        principal: Principal = request.state.principal
        if len(body.question) > service.settings.max_question_chars:
            raise too_long(len(body.question), service.settings.max_question_chars)
        query = body.query(principal, request.state.request_id)
        request.state.facts |= facts_of_query(query)
        key = _drawn_by(body.session, query, authenticated=service.authenticated)
        shown = with_trace and service.settings.expose_trace
        return cls(service, service.assigned(key), request.state.caller, query, key, request.state.facts, with_trace=shown)

    async def answer(self, emit: Emit | None = None) -> AnswerOut:
        """The answer, within the concurrency limit and the timeout."""
        try:
            return await self._answered(emit)
        except Exception:
            drawn, traces = self._assignment, self._service.traces
            if self._running and drawn.draw is not None and traces is not None:
                traces.unanswered(self._query, drawn.draw, drawn.loaded.digest)
            raise

    async def _answered(self, emit: Emit | None) -> AnswerOut:
        pipeline, settings = self._assignment.loaded.pipeline, self._service.settings
        with within(settings.request_timeout_s):
            async with (
                asyncio.timeout(settings.request_timeout_s),
                self._service.concurrency.slot(),
                self._service.budgets.question(self._caller, pipeline.most_usd) as reservation,
            ):
                drawn, observers = self._assignment, Observers([self._service.observers, reservation])
                observer = RoleObserver(observers, drawn.role, draw=drawn.draw)
                self._running = True
                trace = await pipeline.answer(
                    self._query,
                    emit=emit,
                    observer=observer,
                    placeholders=self._placeholders,
                    when_down=WhenDown.DEGRADE if settings.degrade else WhenDown.FALL_BACK,
                )
        self._running = False
        trace = observer.marked(trace)
        self._facts |= facts_of_trace(trace)
        if self._assignment.role == "stable" and not trace.outages:  # else the models would be compared, not the releases
            candidate = self._service.release_manager.candidate
            self._service.shadows.offer(candidate, self._query, trace, self._key, self._service.observers)
        return AnswerOut.of(trace, self._placeholders, with_trace=self._with_trace)

    async def search(self) -> Trace:
        """The passages that an answer would be written from, within the same limits."""
        timeout_s = self._service.settings.request_timeout_s
        with within(timeout_s):
            async with asyncio.timeout(timeout_s), self._service.concurrency.slot():
                observer = RoleObserver(self._service.observers, self._assignment.role)
                trace = observer.marked(await self._assignment.loaded.pipeline.search(self._query, observer=observer))
        self._facts |= facts_of_trace(trace)
        return trace


def _drawn_by(session: str | None, query: Query, *, authenticated: bool) -> str:
    """The key by which a release is drawn: the session within its tenant, else the caller; no session is taken for a caller."""
    tenant, who = query.principal.tenant, query.principal.id if authenticated else query.id
    return "\0".join((tenant, "session", session) if session else (tenant, "caller", who))


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
