"""Routes for administrators: numbers of a window and of this replica, releases, and moves of channels."""

import asyncio
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response
from starlette.background import BackgroundTask

from serving.app.admin.audit import AuditOut, Cursor, Since, Subject, Until, Who
from serving.app.admin.channels import ChannelAdmin, list_releases
from serving.app.admin.replica import replica
from serving.app.admin.traffic import traffic
from serving.app.admin.verdict_wire import CandidateVerdictOut
from serving.app.admin.wire import (
    ApproveIn,
    CandidateIn,
    ChannelOut,
    ChannelsOut,
    PromoteIn,
    ReleasesOut,
    ReplicaOut,
    RollbackIn,
    SwitchIn,
    TrafficOut,
    WithdrawIn,
)
from serving.app.core.audit import MOVES
from serving.app.core.openapi import json_body, problem_responses
from serving.app.core.origin import check_origin
from serving.app.core.problems import Problem, Rejected, cross_site, not_found
from serving.app.core.service import Service, request_caller, service_of
from serving.app.core.wire import Wire
from serving.app.query.body import read_body
from serving.app.query.jsontext import json_response
from serving.app.traces.wire import seconds_of
from serving.audit.record import Action, AuditQuery
from serving.keys import Caller
from serving.pipeline.settings import SECONDS_A_DAY
from serving.release.bundle import open_releases
from serving.release.channel import CHANNELS
from serving.traces.record import TraceQuery
from serving.verdict.plain import plain_verdict
from serving.verdict.read import read_verdict
from serving.verdict.rules import VerdictRules

BODY_PATHS = frozenset(f"/v1/admin/channels/{name}/{move}" for name in CHANNELS for move in MOVES)
MOST_TRACES: Final = 5000  # counted for one window
MOST_FEEDBACK: Final = 2000
MOST_RELEASES: Final = 20
HOUR_S: Final = 3600.0
READ_RESPONSES = problem_responses(401, 403, 404, 422, 429)
VERDICT_RESPONSES = problem_responses(401, 403, 404, 409, 422, 429)
MOVE_RESPONSES = problem_responses(401, 403, 404, 409, 413, 415, 422, 429)

router = APIRouter(prefix="/v1/admin", tags=["admin"])

Hours = Annotated[float, Query(gt=0, le=24 * 90, description="the window, up to now")]
Name = Annotated[str, Path(max_length=20, description=" | ".join(CHANNELS))]
CsrfToken = Annotated[
    str, Header(alias="X-Touchstone-CSRF", max_length=20, description="any word: only a page of this server's own can send it")
]


@router.get("/traffic", response_model=TrafficOut, responses=READ_RESPONSES)
async def read_traffic(request: Request, hours: Hours = 24.0) -> Response:
    """The tenant's questions in a window, counted from the traces of every replica: at most the newest 5,000."""
    service, caller = service_of(request), request_caller(request)
    if service.traces is None:
        raise not_found("This server keeps no traces.")
    until = service.wall()
    since = until - hours * HOUR_S
    query = TraceQuery(tenant=caller.tenant, since=since, limit=MOST_TRACES)
    store = service.traces.store
    summaries = await service.stores.traces.run(store.summaries, query)
    feedback = await service.stores.traces.run(store.recent_feedback, caller.tenant, since, MOST_FEEDBACK)
    complete = len(summaries) < MOST_TRACES
    return json_response(await asyncio.to_thread(traffic, summaries, feedback, since=since, until=until, complete=complete))


@router.get("/replica", response_model=ReplicaOut, responses=READ_RESPONSES)
async def read_replica(request: Request) -> Response:
    """The numbers of the one process that answers, since it began; another replica has its own."""
    return json_response(await replica(service_of(request), request_caller(request), request.app.version))


@router.get("/channels", response_model=ChannelsOut, responses=problem_responses(401, 403, 409, 429))
async def read_channels(request: Request) -> Response:
    """Every channel with its candidate and its history."""
    service = service_of(request)
    found = await service.stores.channels.run(_channel_admin(service).all)
    return json_response(ChannelsOut(channels=found, may_move=_may_move(service, request_caller(request))))


@router.get("/audit", response_model=AuditOut, responses=problem_responses(401, 403, 422, 429))
async def read_audit(
    request: Request,
    since: Since = None,
    until: Until = None,
    who: Who = "",
    action: Action | None = None,
    subject: Subject = "",
    cursor: Cursor = "",
    limit: Annotated[int, Query(ge=1, le=200, description="how many at most")] = 50,
) -> Response:
    """Who did what in the caller's tenant, the newest first; the operator's has the moves of channels too."""
    service, caller = service_of(request), request_caller(request)
    query = AuditQuery(
        tenant=caller.tenant,
        since=seconds_of(since),
        until=seconds_of(until),
        who=who,
        action=action,
        subject=subject,
        before=cursor,
        limit=limit,
    )
    return json_response(AuditOut.of(await service.stores.audit.run(service.audit.store.find, query), limit))


@router.get("/channels/{name}/verdict", response_model=CandidateVerdictOut, responses=VERDICT_RESPONSES)
async def read_candidate_verdict(
    request: Request,
    name: Name,
    alpha: Annotated[
        float, Query(ge=0.001, le=0.2, description="the chance of ever calling worse what is not, or no worse what is")
    ] = 0.05,
    margin: Annotated[float, Query(ge=0.001, le=0.5, description="the loss of a share that is borne; default: that of each")] | None = None,
    slow_ms: Annotated[float, Query(gt=0, le=600_000, description="from which time on an answer is slow")] = 5000.0,
    minutes: Annotated[float, Query(ge=0, le=1440, description="a turn: what a caller asks in it counts as one")] = 10.0,
    at_least: Annotated[int, Query(ge=1, le=10_000, description="questions that the candidate has to have answered")] = 50,
) -> Response:
    """Whether the candidate is as good as the stable release, by all tenants' traces since it was set; it may be asked at any time."""
    service = service_of(request)
    _check_channel(name)
    if not _may_move(service, request_caller(request)):
        raise _not_operator(service)
    if service.traces is None:
        raise not_found("This server keeps no traces, and a verdict is made of them: TOUCHSTONE_KEEP_TRACES.")
    rules = VerdictRules.of(alpha=alpha, margin=margin, slow_ms=slow_ms, minutes=minutes, at_least=at_least)
    channel = await service.stores.channels.run(_channel_admin(service).with_candidate, name)
    store, retention_s = service.traces.store, service.settings.trace_days * SECONDS_A_DAY
    judged = await service.verdicts.get(
        (name, channel.revision, alpha, margin, slow_ms, minutes, at_least),
        lambda: read_verdict(channel, store, rules, now=service.wall(), retention_s=retention_s),
    )
    return json_response(CandidateVerdictOut.model_validate(plain_verdict(judged)))


@router.get("/releases", response_model=ReleasesOut, responses=READ_RESPONSES)
async def read_releases(request: Request, limit: Annotated[int, Query(ge=1, le=MOST_RELEASES)] = 10) -> Response:
    """The newest releases, each verified, with what proves them."""
    service = service_of(request)
    settings = service.settings
    return json_response(await service.stores.channels.run(lambda: list_releases(open_releases(settings.releases, settings), limit)))


async def require_own_page(request: Request, token: CsrfToken) -> None:
    """Refuse a change that another site's page makes a browser ask for: such a page cannot add a header of its own."""
    try:
        check_origin(request.headers)
        if not token.strip():
            raise cross_site()
    except Rejected as error:
        await service_of(request).audit.refused_request(request_caller(request), request.method, request.url.path, error)
        raise


def _move_route(action: str, model: type[Wire], promise: str) -> None:
    async def move(request: Request, name: Name) -> Response:
        service, caller = service_of(request), request_caller(request)
        _check_channel(name)
        if not _may_move(service, caller):
            refusal = _not_operator(service)
            await service.audit.refused(service.audit.act(caller, MOVES[action], name), refusal)
            raise refusal
        asked: Any = read_body(request, model)
        moved = await service.stores.channels.run(_channel_admin(service).move, name, asked, MOVES[action], caller)
        service.log.warning("channel moved", channel=name, action=action, revision=moved.revision, by=service.audit.who(caller))
        return json_response(moved, background=BackgroundTask(service.release_manager.refresh))

    move.__doc__ = promise
    move.__name__ = f"{action}_channel"
    router.post(
        f"/channels/{{name}}/{action}",
        response_model=ChannelOut,
        responses=MOVE_RESPONSES,
        openapi_extra=json_body(model),
        dependencies=[Depends(require_own_page)],
    )(move)


for _action, _model, _promise in (
    ("promote", PromoteIn, "Point a channel at a release that is there, by the newest evidence that the channel accepts."),
    ("approve", ApproveIn, "Let a release be served on a channel that needs an approval."),
    ("rollback", RollbackIn, "Point a channel at what it pointed at before its last move, or at another release that it has served."),
    ("candidate", CandidateIn, "Try a release beside the stable one."),
    ("switch", SwitchIn, "Make the candidate the stable release."),
    ("withdraw", WithdrawIn, "End the trial of the candidate."),
):
    _move_route(_action, _model, _promise)


def _may_move(service: Service, caller: Caller) -> bool:
    """Channels are everybody's: an administrator of one tenant among many does not move them."""
    return not service.authenticated or caller.tenant == service.settings.operator_tenant


def _check_channel(name: str) -> None:
    if name not in CHANNELS:
        raise not_found(f"There is no channel {name!r}. Known: {', '.join(CHANNELS)}.")


def _not_operator(service: Service) -> Rejected:
    tenant = service.settings.operator_tenant
    return Rejected(Problem(403, "forbidden", f"Channels are everybody's: administrators of the tenant {tenant!r} move them."))


def _channel_admin(service: Service) -> ChannelAdmin:
    settings = service.settings
    return ChannelAdmin(open_releases(settings.releases, settings), settings.channel, service.audit)
