"""Builds the app."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from importlib.metadata import PackageNotFoundError, version

from fastapi import FastAPI
from structlog.typing import FilteringBoundLogger

from serving.app.core import health, openapi, problems
from serving.app.core.auth import Authentication, load_keys
from serving.app.core.incidents import IncidentLog
from serving.app.core.limits import BodyLimit, ConcurrencyLimit
from serving.app.core.metrics import Metrics
from serving.app.core.middleware import RequestMiddleware
from serving.app.core.service import Service
from serving.app.core.telemetry import make_logger
from serving.app.query import routes
from serving.app.query.wire import ProblemOut, QueryIn
from serving.app.release.manager import ReleaseManager
from serving.app.server.memory import settle_memory
from serving.app.server.repeats import RepeatedEvents
from serving.app.settings import AppSettings
from serving.app.web.page import page_router
from serving.pipeline.observer import Observers

ROUTES = frozenset({"/", "/livez", "/readyz", "/metrics", "/openapi.json", "/v1/query", "/v1/query/stream", "/v1/release"})


def create_app(
    settings: AppSettings | None = None, *, release_manager: ReleaseManager | None = None, log: FilteringBoundLogger | None = None
) -> FastAPI:
    """The API over a channel's release; it starts without one, says so at /readyz, and takes it up when it comes."""
    settings = settings or AppSettings()
    log = log or make_logger(settings)
    concurrency, metrics = ConcurrencyLimit(settings.max_running, settings.max_waiting), Metrics()
    metrics.watch(concurrency)
    metrics.watch_cache(lambda: manager.serving.pipeline.cache if manager.serving else None)
    manager = release_manager or ReleaseManager(settings, log, after_swap=settle_memory)
    service = Service(
        settings, manager, concurrency, load_keys(settings, log), metrics, log, Observers([metrics, IncidentLog(log)]), RepeatedEvents()
    )

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(service.release_manager.run()), asyncio.create_task(service.repeats.report(log))]
        log.info("started", channel=settings.channel, keys=len(service.keys) if service.keys is not None else None)
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
            await service.release_manager.aclose()
            service.repeats.log(log)
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
    openapi.install(app, ProblemOut, QueryIn)
    for router in (routes.router, health.router, page_router()):
        app.include_router(router)
    app.add_middleware(BodyLimit, paths=routes.BODIES, most=settings.max_body_bytes, timeout_s=settings.body_timeout_s)
    app.add_middleware(Authentication, keys=service.keys)
    app.add_middleware(RequestMiddleware, service=service, routes=ROUTES)
    return app


def _version() -> str:
    try:
        return version("touchstone-rag")
    except PackageNotFoundError:  # run from a folder that was never installed
        return "0"
