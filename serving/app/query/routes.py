"""Routes for questions and the release."""

from fastapi import APIRouter, Query, Request, Response

from serving.app.core.openapi import event_stream, json_body, link, linked, problem_responses
from serving.app.core.service import service_of
from serving.app.query.jsontext import json_response
from serving.app.query.service import QueryService, cancel_on_disconnect
from serving.app.query.stream import AnswerStream
from serving.app.query.wire import AnswerOut, QueryIn, RetrievedOut
from serving.app.release.wire import ReleaseOut

QUESTION_RESPONSES = problem_responses(401, 403, 413, 415, 422, 429, 504)
WITH_TRACE = Query(default=False, alias="trace", description="show the whole trace, where the server exposes it")
BODY_PATHS = frozenset({"/v1/query", "/v1/query/stream", "/v1/retrieve"})  # whose bodies are read
ANSWER_LINKS = linked(
    trace=link("trace_v1_traces__trace_id__get", "how it came about", trace_id="$response.body#/trace_id"),
    feedback=link(
        "feedback_v1_feedback_post",
        "what a reader says of it",
        body={"trace_id": "$response.body#/trace_id", "kind": "thumbs", "value": 1},
    ),
)

router = APIRouter(prefix="/v1", tags=["questions"])


@router.post("/query", response_model=AnswerOut, responses=ANSWER_LINKS | QUESTION_RESPONSES, openapi_extra=json_body(QueryIn))
async def query(request: Request, with_trace: bool = WITH_TRACE) -> Response:
    """Answer a question from the documents the caller may see."""
    answer = await cancel_on_disconnect(request.receive, QueryService.admit(request, with_trace=with_trace).answer())
    return json_response(answer)


@router.post(
    "/query/stream",
    response_class=Response,
    responses={
        200: {
            "content": event_stream("token", "answer", "error"),
            "description": "`token` events {text}, then one `answer` (AnswerOut), or one `error` (ProblemOut)",
        },
        **QUESTION_RESPONSES,
    },
    openapi_extra=json_body(QueryIn),
)
async def stream(request: Request, with_trace: bool = WITH_TRACE) -> Response:
    """Answer a question word by word; the last event is the whole answer, as /v1/query gives it."""
    return AnswerStream(QueryService.admit(request, with_trace=with_trace))


@router.post("/retrieve", response_model=RetrievedOut, responses=QUESTION_RESPONSES, openapi_extra=json_body(QueryIn))
async def retrieve(request: Request) -> Response:
    """Find the passages for a question, without an answer."""
    trace = await cancel_on_disconnect(request.receive, QueryService.admit(request, with_trace=False).search())
    return json_response(RetrievedOut.of(trace))


@router.get("/release", response_model=ReleaseOut, responses=problem_responses(401, 403, 429))
async def release(request: Request) -> Response:
    """What is served, and the evidence for it."""
    service = service_of(request)
    found = ReleaseOut.of(service.loaded(), service.settings.channel, service.settings.examples)
    return json_response(found)
