"""The OpenAPI document: every status that can come, with its content type, model and examples."""

from collections.abc import Mapping
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

from serving.app.core import problems
from serving.app.core.problems import Problem, Rejected
from serving.app.server.connections import MALFORMED, REFUSED
from serving.pipeline.errors import ModelError, ThrottledError

PROBLEM_TYPE: Final = "application/problem+json"
_SCHEMAS: Final = "#/components/schemas/{model}"


def _of(*rejected: Rejected) -> tuple[Problem, ...]:
    return tuple(one.problem for one in rejected)


_ABOUT: Final[Mapping[int, tuple[str, tuple[Problem, ...]]]] = {
    400: (
        "Not an HTTP request, or its body is not JSON, or no form with a file where one is needed",
        (*_of(problems.not_json("it is not UTF-8"), problems.not_multipart("the form cannot be read")), MALFORMED),
    ),
    401: ("No valid API key where keys are in force; nothing of the body was read", _of(problems.unauthenticated())),
    403: ("The key is valid, and not for this", _of(problems.forbidden("query"))),
    404: (
        "What was asked for is not there, or not for the caller to know of",
        _of(problems.not_found("There is no trace '0a1b' of yours.")),
    ),
    408: ("The request did not come in time", _of(problems.too_slow())),
    409: ("As many documents as may be are kept", _of(problems.quota_reached("10000 documents"))),
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
            REFUSED,
        ),
    ),
    504: ("The answer took too long", (problems.problem_of(TimeoutError()),)),
}
EVERYWHERE: Final = (400, 408, 500, 503)  # of the server itself, before any route is asked


def problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
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


def install(app: FastAPI, *models: type[BaseModel]) -> None:
    """Give the app its document; `models` are those that it refers to and no route's signature names."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            made = get_openapi(title=app.title, version=app.version, summary=app.summary, routes=app.routes)
            schemas = made.setdefault("components", {}).setdefault("schemas", {})
            for model in models:
                schema = model.model_json_schema(ref_template=_SCHEMAS)
                schemas |= {**schema.pop("$defs", {}), model.__name__: schema}
            app.openapi_schema = made
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]  # FastAPI's own way of replacing it
