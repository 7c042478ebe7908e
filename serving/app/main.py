"""The app, wired together."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from importlib.metadata import PackageNotFoundError, version

from fastapi import FastAPI
from structlog.typing import FilteringBoundLogger

from serving.app import health, problems, routes
from serving.app.auth import load_keys
from serving.app.front import Front
from serving.app.limits import BodyLimit, Gate
from serving.app.metrics import Metrics
from serving.app.page import page_router
from serving.app.reload import Keeper
from serving.app.service import Service
from serving.app.settings import AppSettings
from serving.app.telemetry import make_logger

ROUTES = frozenset({"/", "/livez", "/readyz", "/metrics", "/openapi.json", "/v1/query", "/v1/query/stream", "/v1/release"})


def create_app(settings: AppSettings | None = None, *, keeper: Keeper | None = None, log: FilteringBoundLogger | None = None) -> FastAPI:
    """The API over a channel's release; it starts without one, says so at /readyz, and takes it up when it comes."""
    settings = settings or AppSettings()
    log = log or make_logger(settings)
    gate, metrics = Gate(settings.max_running, settings.max_waiting), Metrics()
    metrics.watch(gate)
    service = Service(settings, keeper or Keeper(settings, log), gate, load_keys(settings), metrics, log)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        watching = asyncio.create_task(service.keeper.run())
        log.info("started", channel=settings.channel, keys=len(service.keys) if service.keys is not None else None)
        try:
            yield
        finally:
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching
            log.info("stopped")

    app = FastAPI(
        title="Touchstone",
        summary="Answers from your documents, by a configuration that was proven first.",
        version=_version(),
        lifespan=lifespan,
        docs_url=None,  # Swagger's page loads its parts from elsewhere; /openapi.json is there for any tool
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.service = service
    problems.install(app)
    for router in (routes.router, health.router, page_router()):
        app.include_router(router)
    app.add_middleware(BodyLimit, most=settings.max_body_bytes, patience_s=settings.request_timeout_s)
    app.add_middleware(Front, service=service, routes=ROUTES)
    return app


def _version() -> str:
    try:
        return version("touchstone-rag")
    except PackageNotFoundError:  # run from a folder that was never installed
        return "0"
