"""Routes for machines: liveness, readiness, metrics."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import Field

from serving.app.core.openapi import problem_responses
from serving.app.core.problems import Rejected
from serving.app.core.service import service_of
from serving.app.core.wire import Wire
from serving.app.release.wire import ReadyOut

router = APIRouter(tags=["health"])


class Alive(Wire):
    """The process runs."""

    alive: bool = True


@router.get("/livez", responses=problem_responses())
async def livez() -> Alive:
    """Whether the process runs; it says nothing of the release."""
    return Alive()


class VersionOut(Wire):
    """Which code runs, and what it serves."""

    version: str = Field(description="of the package")
    commit: str = Field(description="of its repository; empty where nobody said")
    channel: str
    release: str = Field(description="digest of the release that is served; empty: none yet")
    index: str = Field(description="digest of the index it stands on")


@router.get("/version", responses=problem_responses())
async def version(request: Request) -> VersionOut:
    """Which code runs, and what it serves."""
    service = service_of(request)
    state = service.release_manager.readiness
    settings = service.settings
    return VersionOut(
        version=request.app.version, commit=settings.commit, channel=settings.channel, release=state.loaded, index=state.index
    )


_PROBLEMS = problem_responses()
NOT_READY = {**_PROBLEMS[503], "model": ReadyOut, "description": "Nothing proven answers; `state` says why. Or: too many connections"}


@router.get("/readyz", response_model=ReadyOut, responses={**_PROBLEMS, 503: NOT_READY})
async def readyz(request: Request) -> JSONResponse:
    """Whether questions are answered, by a release proven to be what was promoted; a valid key is told the whole reason."""
    service = service_of(request)
    state = await service.release_manager.probed_readiness()
    return JSONResponse(ReadyOut.of(state, whole=_has_key(request)).model_dump(), 200 if state.ready else 503)


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "Prometheus' text format"}, **_PROBLEMS},
)
async def metrics(request: Request) -> Response:
    """Numbers for Prometheus."""
    service = service_of(request)
    await service.refresh_gauges()
    return Response(generate_latest(service.metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})


def _has_key(request: Request) -> bool:
    keys = service_of(request).keys
    try:
        return keys is not None and keys.caller(request.headers.get("authorization", "")) is not None
    except Rejected:  # nobody's key can be checked: everybody is anonymous
        return False
