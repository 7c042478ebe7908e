"""The OpenAPI document: every status that can come, with its content type, model and examples."""

from collections.abc import Mapping
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

from serving.app.core import problems
from serving.app.core.problems import Problem, Rejected
from serving.app.server.connections import MALFORMED, REFUSED
from serving.pipeline.errors import ModelError, NotRecorded, ThrottledError

PROBLEM_TYPE: Final = "application/problem+json"
_QUESTIONS: Final = {"QueryIn": "question", "DifyIn": "query"}  # by the model: whose length the settings limit
_SCHEMAS: Final = "#/components/schemas/{model}"


def _of(*rejected: Rejected) -> tuple[Problem, ...]:
    return tuple(one.problem for one in rejected)


_ABOUT: Final[Mapping[int, tuple[str, tuple[Problem, ...]]]] = {
    400: (
        "Not an HTTP request, or its body is not JSON, or no form with a file where one is needed",
        (*_of(problems.not_json("it is not UTF-8"), problems.not_multipart("the form cannot be read")), MALFORMED),
    ),
    401: ("No valid API key where keys are in force; nothing of the body was read", _of(problems.unauthenticated())),
    403: (
        "The key is valid, and not for this; or another site's page asks",
        _of(problems.forbidden("query"), problems.cross_site(), problems.foreign_host()),
    ),
    404: (
        "What was asked for is not there, or not for the caller to know of",
        _of(problems.not_found("There is no trace '0a1b' of yours.")),
    ),
    408: ("The request did not come in time", _of(problems.too_slow())),
    409: (
        "What was to be changed is not as the caller saw it, or does not allow the change; or as many documents as may be are kept",
        _of(problems.conflict("Channel 'dev' is at revision 4, no longer at 3; look again."), problems.quota_reached("10000 documents")),
    ),
    413: ("The body is too large", _of(problems.too_large(65_536))),
    415: (
        "The body is not said to be JSON, or a file is of a kind that is not taken",
        _of(problems.not_json_type(), problems.unsupported_file("'a.exe' is none of the files that are taken: txt, md, html, pdf, docx.")),
    ),
    422: ("The request is not one we understand, or the question is too long", _of(problems.too_long(3000, 2000))),
    429: ("The caller asks too often, or has spent its budget", _of(problems.too_often(60, 12), problems.budget_spent(5.0, 3600))),
    500: ("Something failed that should not", (problems.problem_of(RuntimeError()),)),
    503: (
        "Not ready, too busy, or a part we stand on is out",
        (
            *_of(problems.not_ready(), problems.too_busy(), problems.keys_unreadable()),
            problems.problem_of(ThrottledError()),
            problems.problem_of(ModelError()),
            problems.problem_of(NotRecorded()),
            REFUSED,
        ),
    ),
    504: ("The answer took too long", (problems.problem_of(TimeoutError()),)),
}
EVERYWHERE: Final = (400, 408, 500, 503)  # of the server itself, before any route is asked


Responses = dict[int | str, dict[str, Any]]  # as FastAPI takes declarations of responses


def problem_responses(*statuses: int) -> Responses:
    """The declarations of the problems that a route may answer with, those of every route included."""
    return {
        status: {
            "description": _ABOUT[status][0],
            "content": {
                PROBLEM_TYPE: {
                    "schema": {"$ref": _SCHEMAS.format(model="ProblemOut")},
                    "examples": {problem.kind: {"value": problem.body} for problem in _ABOUT[status][1]},
                }
            },
        }
        for status in sorted({*statuses, *EVERYWHERE})
    }


def json_body(model: type[BaseModel]) -> dict[str, Any]:
    """The declaration of a body that the route reads itself."""
    content = {"application/json": {"schema": {"$ref": _SCHEMAS.format(model=model.__name__)}}}
    return {"requestBody": {"required": True, "content": content}}


def event_stream(*names: str) -> dict[str, Any]:
    """The declaration of server-sent events: each is one of these, or has no name where none is given."""
    data = {"type": "string", "description": "JSON, or what ends the stream"}
    event = {"event": {"enum": list(names)}, "data": data} if names else {"data": data}
    return {"text/event-stream": {"schema": {"type": "object", "properties": event, "required": list(event)}}}


def link(operation: str, about: str, *, body: Mapping[str, Any] | None = None, **parameters: str) -> dict[str, Any]:
    """A link of a response to an operation that takes something of it."""
    given: dict[str, Any] = {"parameters": parameters} if parameters else {}
    return {"operationId": operation, "description": about, **given, **({"requestBody": body} if body else {})}


def linked(**links: Mapping[str, Any]) -> dict[int | str, dict[str, Any]]:
    """The declaration of the links of what a route answers with."""
    return {200: {"links": links}}


def install(app: FastAPI, *models: type[BaseModel], question_chars: int, authenticated: bool) -> None:
    """Give the app its document; `models` are those that it refers to and no route's signature names."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            made = get_openapi(title=app.title, version=app.version, summary=app.summary, routes=app.routes)
            schemas = made.setdefault("components", {}).setdefault("schemas", {})
            for model in models:
                schema = model.model_json_schema(ref_template=_SCHEMAS)
                schemas |= {**schema.pop("$defs", {}), model.__name__: schema}
            for model_name, field in _QUESTIONS.items():
                schemas[model_name]["properties"][field]["maxLength"] = question_chars
            if authenticated:
                _require_key(made)
            app.openapi_schema = made
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]  # FastAPI's own way of replacing it


def _require_key(document: dict[str, Any]) -> None:
    """Declare the bearer key (or token) that everything below /v1 asks for."""
    document["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    for path, operations in document["paths"].items():
        if path.startswith("/v1/"):
            for operation in operations.values():
                operation["security"] = [{"key": []}]
