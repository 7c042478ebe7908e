"""Routes for machines: liveness, readiness, metrics."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from serving.app.core.service import service_of
from serving.app.query.wire import ReadyOut, Wire

router = APIRouter(tags=["health"])


class Alive(Wire):
    """The process runs."""

    alive: bool = True


@router.get("/livez")
async def livez() -> Alive:
    """Whether the process runs; it says nothing of the release."""
    return Alive()


NOT_READY = {"model": ReadyOut, "description": "Nothing proven is loaded; `reason` says why"}


@router.get("/readyz", response_model=ReadyOut, responses={503: NOT_READY})
async def readyz(request: Request) -> JSONResponse:
    """Whether questions are answered, by a release proven to be what was promoted."""
    state = service_of(request).release_manager.readiness
    return JSONResponse(ReadyOut.of(state).model_dump(), 200 if state.ready else 503)


@router.get("/metrics", response_class=Response)
async def metrics(request: Request) -> Response:
    """Numbers for Prometheus."""
    service = service_of(request)
    service.metrics.state(service.release_manager.readiness)
    return Response(generate_latest(service.metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})
