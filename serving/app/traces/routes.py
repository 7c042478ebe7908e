"""Routes for traces and feedback."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BeforeValidator

from serving.app.core.openapi import json_body, link, linked, problem_responses
from serving.app.core.problems import not_found
from serving.app.core.service import Service, request_caller, service_of
from serving.app.query.body import read_body
from serving.app.query.jsontext import json_response
from serving.app.traces.wire import FeedbackIn, FeedbackOut, TraceLine, TraceOut, TracesOut, seconds_of, written_out
from serving.app.traces.writer import TraceWriter
from serving.keys import Caller
from serving.pipeline.digest import digest_of
from serving.traces.base import TraceStore
from serving.traces.record import Feedback, TraceQuery, TraceRecord

BODY_PATHS = frozenset({"/v1/feedback"})

router = APIRouter(prefix="/v1", tags=["traces"])

TraceId = Annotated[str, Path(min_length=1, max_length=64)]
Limit = Annotated[int, Query(ge=1, le=200, description="how many at most")]


Before = Annotated[
    datetime | None,
    BeforeValidator(written_out),
    Query(description="only older ones: the `next` of the page before, as in ISO 8601; UTC without a zone"),
]
Role = Annotated[str, Query(max_length=20, description="stable, canary, shadow or interleave")]
Release = Annotated[str, Query(max_length=64, description="a release's digest")]


FIRST_LINK = linked(first=link("trace_v1_traces__trace_id__get", "the newest", trace_id="$response.body#/traces/0/id"))
TRACE_LINK = linked(trace=link("trace_v1_traces__trace_id__get", "of what it was said", trace_id="$response.body#/trace_id"))


@router.get("/traces", response_model=TracesOut, responses=FIRST_LINK | problem_responses(401, 403, 404, 422, 429))
async def traces(request: Request, limit: Limit = 50, before: Before = None, role: Role = "", release: Release = "") -> Response:
    """The caller's own traces, or with the scope admin those of its tenant, the newest first."""
    service, caller = service_of(request), request_caller(request)
    admin = _is_admin(caller, service)
    query = TraceQuery(
        tenant=caller.tenant,
        principal=None if admin else caller.id,
        release=release,
        role=role,
        before=seconds_of(before),
        limit=limit,
    )
    found = await service.stores.traces.run(_store(service).find, query)
    lines = tuple(TraceLine.of(record.readable_by(caller.principal())) for record in found)
    return json_response(TracesOut(traces=lines, next=lines[-1].at if len(lines) == limit else None))


@router.get("/traces/{trace_id}", response_model=TraceOut, responses=problem_responses(401, 403, 404, 422, 429))
async def trace(request: Request, trace_id: TraceId) -> Response:
    """The whole journey of a question, with nothing of documents that the reader may not see."""
    service, caller = service_of(request), request_caller(request)
    record = await _own_trace(trace_id, service, caller)
    feedback = await service.stores.traces.run(_audited_feedback, record, service, caller)
    now = await service.library.may_read(list(record.documents), caller.principal())
    return json_response(TraceOut.of(record.readable_by(caller.principal(), now), feedback))


FEEDBACK_RESPONSES = TRACE_LINK | problem_responses(401, 403, 404, 413, 415, 422, 429)


@router.post("/feedback", response_model=FeedbackOut, responses=FEEDBACK_RESPONSES, openapi_extra=json_body(FeedbackIn))
async def feedback(request: Request) -> Response:
    """Say something of an answer: by whom it was given for, or an administrator."""
    service, caller, body = service_of(request), request_caller(request), read_body(request, FeedbackIn)
    record = await _own_trace(body.trace_id, service, caller)
    ident = body.id or (str(int(body.value)) if body.kind == "click" and body.value else "")
    kept = Feedback(
        id=digest_of([record.id, caller.tenant, caller.id, body.kind, ident]),
        trace_id=record.id,
        at=service.wall(),
        tenant=caller.tenant,
        principal=caller.id,
        kind=body.kind,
        value=body.value,
        text=await service.stores.traces.run(_writer(service).masked, body.text),
    )
    await service.stores.traces.run(_store(service).put_feedback, kept)
    service.metrics.feedback(body.kind, body.value)
    if service.scores:
        service.scores.feedback(kept, record.value())
    return json_response(FeedbackOut.of(kept))


def _audited_feedback(record: TraceRecord, service: Service, caller: Caller) -> list[Feedback]:
    """What was said of an answer; that a trace of another person is read stands in the audit trail first."""
    if record.principal == caller.id:
        return _store(service).feedback(record.id)
    act = service.audit.act(caller, "trace.read", record.id, {"of": record.principal}, tenant=record.tenant)
    with service.audit.doing(act):
        return _store(service).feedback(record.id)


async def _own_trace(trace_id: str, service: Service, caller: Caller) -> TraceRecord:
    """A trace that the caller may read; of another's it is not told whether there is one."""
    record = await service.stores.traces.run(_writer(service).find, trace_id)
    mine = record is not None and record.tenant == caller.tenant and (record.principal == caller.id or _is_admin(caller, service))
    if record is None or not mine:
        raise not_found(f"There is no trace {trace_id!r} of yours.")
    return record


def _writer(service: Service) -> TraceWriter:
    if service.traces is None:
        raise not_found("This server keeps no traces.")
    return service.traces


def _store(service: Service) -> TraceStore:
    return _writer(service).store


def _is_admin(caller: Caller, service: Service) -> bool:
    return "admin" in caller.scopes and service.authenticated
