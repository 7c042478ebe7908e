"""Routes for questions and the release."""

from typing import Any

from fastapi import APIRouter, Query, Request, Response

from serving.app.core.auth import principal_of
from serving.app.core.service import service_of
from serving.app.query.service import QueryService, cancel_on_disconnect
from serving.app.query.stream import AnswerStream
from serving.app.query.wire import AnswerOut, ProblemOut, QueryIn, ReleaseOut

PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": ProblemOut, "description": about, "content": {"application/problem+json": {}}}
    for status, about in {
        401: "No valid API key where keys are in force",
        413: "The body is too large",
        422: "The request is not one we understand, or the question is too long",
        503: "Not ready, too busy, or a part we stand on is out",
        504: "The answer took too long",
    }.items()
}
WITH_TRACE = Query(default=False, alias="trace", description="show the whole trace, where the server exposes it")

router = APIRouter(prefix="/v1", tags=["questions"], responses=PROBLEMS)


@router.post("/query")
async def query(request: Request, body: QueryIn, with_trace: bool = WITH_TRACE) -> AnswerOut:
    """Answer a question from the documents the caller may see."""
    return await cancel_on_disconnect(request.receive, QueryService.admit(request, body, with_trace=with_trace).answer())


@router.post(
    "/query/stream",
    response_class=Response,
    responses={200: {"content": {"text/event-stream": {}}, "description": "`token` events {text}, then one `answer`, or one `error`"}},
)
async def stream(request: Request, body: QueryIn, with_trace: bool = WITH_TRACE) -> Response:
    """Answer a question word by word; the last event is the whole answer, as /v1/query gives it."""
    return AnswerStream(QueryService.admit(request, body, with_trace=with_trace))


@router.get("/release")
async def release(request: Request) -> ReleaseOut:
    """What is served, and the evidence for it."""
    service = service_of(request)
    principal_of(request, service.keys)
    return ReleaseOut.of(service.loaded(), service.settings.channel)
