"""Middleware around every request: an id, one log line, metrics, and problems instead of exceptions."""

import re
import time
from collections.abc import Sequence
from typing import Final
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.app.core.problems import ClientDisconnected, Rejected, problem_of
from serving.app.core.service import Service
from serving.app.core.telemetry import TRACEPARENT, caller_trace
from serving.pipeline.errors import TouchstoneError

_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_PROBE_PATHS: Final = frozenset({"/livez", "/readyz", "/metrics"})  # polled every few seconds
CLIENT_CLOSED_REQUEST = 499  # status in log and metrics: the client disconnected before the answer


class RouteNames:
    """The name of a path in logs and metrics: that of its route, so that there are few of them."""

    def __init__(self, routes: Sequence[BaseRoute]) -> None:
        found = [route for route in routes if isinstance(route, Route)]
        self._exact = frozenset(route.path for route in found if "{" not in route.path)
        self._patterns = [(route.path, route.path_regex) for route in found if "{" in route.path]

    def of(self, path: str) -> str:
        """The route's own path, with its parameters unfilled; "other" where there is none."""
        if path in self._exact:
            return path
        return next((name for name, pattern in self._patterns if pattern.match(path)), "other")


class RequestMiddleware:
    """Middleware around the whole app."""

    def __init__(self, app: ASGIApp, service: Service, routes: RouteNames) -> None:
        self._app = app
        self._service = service
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, then log and count it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        request_id = _request_id(headers.get("x-request-id"))
        state = scope.setdefault("state", {})
        state |= {"request_id": request_id, "facts": {}, "error": None}
        start, status = time.perf_counter(), 0
        TRACEPARENT.set(headers.get("traceparent", ""))  # of this request's own context

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                set_common_headers(MutableHeaders(scope=message), request_id)
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        except ClientDisconnected:
            pass
        except Exception as error:  # noqa: BLE001 — a client reads a problem, never a traceback
            state["error"] = error
            if not status:
                await problem_of(error).response()(scope, receive, send_with_headers)
        finally:
            self._record(scope, status or CLIENT_CLOSED_REQUEST, time.perf_counter() - start, caller_trace(headers.get("traceparent")))

    def _record(self, scope: Scope, status: int, seconds: float, caller: dict[str, str]) -> None:
        state, path = scope["state"], scope["path"]
        route = self._routes.of(path)
        self._service.metrics.request(route, status, seconds)
        log = self._service.log.bind(request_id=state["request_id"], **caller)
        facts = {"method": scope["method"], "route": route, "status": status, "milliseconds": round(seconds * 1000, 3), **state["facts"]}
        error = state["error"]
        if isinstance(error, TouchstoneError):  # its message is written for eyes: no question in it, no secret
            log.error("request", **facts, error=f"{type(error).__name__}: {error}")
        elif error is not None and status >= 500 and not isinstance(error, (Rejected, TimeoutError)):
            first = self._service.repeats.first(f"crash of {route}: {type(error).__name__}")  # its traceback is logged once a minute
            log.error("request", **facts, error=type(error).__name__, exc_info=error if first else None)
        elif path in _PROBE_PATHS:
            log.debug("request", **facts)
        else:
            log.info("request", **facts)


def set_common_headers(headers: MutableHeaders, request_id: str) -> None:
    """Set the headers that every response has."""
    headers["X-Request-ID"] = request_id
    headers["X-Content-Type-Options"] = "nosniff"
    headers.setdefault("Cache-Control", "no-store")


def _request_id(given: str | None) -> str:
    """The caller's own id if it is well formed, else a new one."""
    return given if given and _ID.fullmatch(given) else uuid4().hex
