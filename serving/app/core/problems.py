"""Failures as RFC 9457 problems, without internal details."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from types import MappingProxyType
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Route

from serving.pipeline.errors import InfrastructureError, NotRecorded, ThrottledError

RETRY_S = 2  # what a client told to come back is told to wait
_NO_HEADERS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Problem:
    """What went wrong, fit for a client's eyes."""

    status: int
    kind: str  # a stable word for programs
    detail: str  # one line for people
    headers: Mapping[str, str] = field(default_factory=lambda: _NO_HEADERS)

    @property
    def body(self) -> dict[str, Any]:
        """The problem as JSON."""
        return {
            "type": f"urn:touchstone:problem:{self.kind}",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
        }

    def response(self) -> JSONResponse:
        """The problem as a response."""
        return JSONResponse(self.body, self.status, headers=dict(self.headers), media_type="application/problem+json")


class Rejected(Exception):
    """Raised where a request is turned away."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail)
        self.problem = problem


class ClientDisconnected(Exception):
    """The client disconnected before the answer."""


def not_ready() -> Rejected:
    """No release is in memory."""
    return Rejected(Problem(503, "not-ready", "No release is ready to answer yet; /readyz says why.", {"Retry-After": str(RETRY_S)}))


def too_busy(of: str = "questions") -> Rejected:
    """As many questions, or uploads, are running and waiting as may."""
    return Rejected(Problem(503, "too-busy", f"Too many {of} at the moment. Try again shortly.", {"Retry-After": str(RETRY_S)}))


def unauthenticated() -> Rejected:
    """No valid key."""
    detail = "A valid API key is needed: Authorization: Bearer <key>."
    return Rejected(Problem(401, "unauthenticated", detail, {"WWW-Authenticate": 'Bearer realm="touchstone"'}))


def forbidden(scope: str) -> Rejected:
    """The key is valid, and not for this."""
    return Rejected(Problem(403, "forbidden", f"This key lacks the scope {scope!r}."))


def cross_site() -> Rejected:
    """A browser sent it for another site's page."""
    return Rejected(Problem(403, "cross-site", "This comes from another site's page. Open this server's own page, or use a key."))


def foreign_host() -> Rejected:
    """Without keys, the server was called by a name that may be anybody's."""
    detail = "Without keys this server is called by its address or as localhost, and by no other name. Set TOUCHSTONE_API_KEYS for that."
    return Rejected(Problem(403, "foreign-host", detail))


def conflict(detail: str) -> Rejected:
    """What was to be changed is not as the caller saw it, or does not allow the change."""
    return Rejected(Problem(409, "conflict", detail))


def not_found(detail: str) -> Rejected:
    """What was asked for is not there, or not for the caller to know of."""
    return Rejected(Problem(404, "not-found", detail))


def too_often(per_minute: int, wait_s: int) -> Rejected:
    """The caller has asked as often as it may in a minute."""
    detail = f"At most {per_minute} requests a minute. Try again in {wait_s} s."
    return Rejected(Problem(429, "too-often", detail, {"Retry-After": str(wait_s)}))


def budget_spent(limit_usd: float, wait_s: int) -> Rejected:
    """The day's money is spent."""
    detail = f"The budget of ${limit_usd:g} a day is spent. It begins anew at midnight UTC."
    return Rejected(Problem(429, "budget-spent", detail, {"Retry-After": str(wait_s)}))


def budget_reserved(limit_usd: float) -> Rejected:
    """What is left of the day's money is set aside for questions that are being answered."""
    detail = f"What is left of the budget of ${limit_usd:g} a day is set aside for questions that are being answered. Try again shortly."
    return Rejected(Problem(429, "budget-reserved", detail, {"Retry-After": str(RETRY_S)}))


def keys_unreadable() -> Rejected:
    """The keys file cannot be read, so no caller can be identified."""
    detail = "Keys cannot be checked at the moment. Try again shortly."
    return Rejected(Problem(503, "keys-unreadable", detail, {"Retry-After": str(RETRY_S)}))


def too_large(most: int) -> Rejected:
    """The body has more bytes than the settings allow."""
    return Rejected(Problem(413, "too-large", f"The request body is larger than {most} bytes."))


def not_json(why: str) -> Rejected:
    """The body is no JSON text, or one that can be read in two ways."""
    return Rejected(Problem(400, "not-json", f"The body is not JSON: {why}."))


def not_json_type() -> Rejected:
    """The body is said to be something else."""
    return Rejected(Problem(415, "unsupported-media-type", "The body has to be JSON: Content-Type: application/json."))


def not_multipart(why: str) -> Rejected:
    """The body is no form with a file."""
    return Rejected(Problem(400, "not-multipart", f"The upload cannot be read: {why}."))


def unsupported_file(detail: str) -> Rejected:
    """A file of a kind that is not taken, or not what its name says."""
    return Rejected(Problem(415, "unsupported-file", detail))


def quota_reached(most: str) -> Rejected:
    """The tenant keeps as many documents as it may."""
    return Rejected(Problem(409, "quota-reached", f"This tenant may keep {most}. Delete some that are not needed first."))


def forbidden_document() -> Rejected:
    """The caller may read a document and not remove it."""
    detail = "Only who uploaded a document may delete it, or a key of its tenant with the scope 'admin'."
    return Rejected(Problem(403, "forbidden", detail))


def invalid(errors: Sequence[Mapping[str, Any]]) -> Rejected:
    """The body is JSON and not a request; pydantic's errors say why."""
    return Rejected(Problem(422, "invalid-request", _first(errors)))


def refused_field(field: str, why: str) -> Rejected:
    """One field of a form is not taken."""
    return invalid([{"type": "value_error", "loc": (field,), "msg": why}])


def too_slow() -> Rejected:
    """The body did not come in time."""
    return Rejected(Problem(408, "too-slow", "The request body did not come in time.", {"Connection": "close"}))


def too_long(characters: int, most: int) -> Rejected:
    """The question is longer than the settings allow."""
    return Rejected(Problem(422, "question-too-long", f"question: has {characters} characters; at most {most} are allowed."))


def problem_of(error: Exception) -> Problem:
    """The problem for an exception; messages of internal failures go to the log only."""
    match error:
        case Rejected():
            return error.problem
        case RequestValidationError():
            return invalid(error.errors()).problem
        case HTTPException():
            return _http(error)
        case ThrottledError():
            return Problem(503, "throttled", "The model is throttling us. Try again shortly.", {"Retry-After": str(RETRY_S)})
        case NotRecorded():
            detail = "The audit trail cannot be written at the moment, so nothing was done. Try again shortly."
            return Problem(503, "not-recorded", detail, {"Retry-After": str(RETRY_S)})
        case InfrastructureError():
            detail = "A part this service stands on did not answer. Try again shortly."
            return Problem(503, "outage", detail, {"Retry-After": str(RETRY_S)})
        case TimeoutError():
            return Problem(504, "timeout", "The answer took too long. Try again, or ask less at once.")
        case _:
            return Problem(500, "failure", "Something failed that should not. The log has it under this response's X-Request-ID.")


def install(app: FastAPI, routes: Iterable[BaseRoute] = ()) -> None:
    """Make every failure that a route raises a problem; `routes` are those whose methods a wrong one is told."""
    known = [route for route in routes if isinstance(route, Route)]

    async def handle(request: Request, error: Exception) -> JSONResponse:
        request.state.error = error  # for the log
        problem = problem_of(error)
        if problem.status == HTTPStatus.METHOD_NOT_ALLOWED:
            address = next((route.path for route in known if route.path_regex.match(request.scope["path"])), "")
            methods = {method for route in known if route.path == address for method in route.methods or ()}
            problem = replace(problem, headers={**problem.headers, "Allow": ", ".join(sorted(methods))})
        return problem.response()

    for kind in (Rejected, RequestValidationError, HTTPException, InfrastructureError, TimeoutError):
        app.add_exception_handler(kind, handle)


def _http(error: HTTPException) -> Problem:
    status = HTTPStatus(error.status_code)
    detail = {
        404: "There is nothing at this address.",
        405: "This address does not take that method.",
    }.get(error.status_code, f"{status.phrase}.")
    return Problem(error.status_code, status.phrase.lower().replace(" ", "-"), detail, dict(error.headers or {}))


def _first(errors: Sequence[Mapping[str, Any]]) -> str:
    """The first thing wrong, in one line, without the value: it may be a long or private text; what is misspelt comes before what lacks."""
    first, *rest = sorted(errors, key=lambda error: error["type"] == "missing")
    more = f" ({len(rest)} more)" if rest else ""
    place = first["loc"][1:] if len(first["loc"]) > 1 and first["loc"][0] in ("body", "query") else first["loc"]
    path = ".".join(map(str, place)) or "body"
    message = "unknown field" if first["type"] == "extra_forbidden" else first["msg"][0].lower() + first["msg"][1:]
    return f"{path}: {message}{more}."
