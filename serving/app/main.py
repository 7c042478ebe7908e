"""Builds the app."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext, suppress
from functools import partial
from importlib.metadata import PackageNotFoundError, version

from fastapi import FastAPI
from pydantic import BaseModel
from structlog.typing import FilteringBoundLogger

from serving.app.admin import routes as admin_routes
from serving.app.admin.wire import MOVES
from serving.app.compatible import dify, openai
from serving.app.core import health, openapi, problems
from serving.app.core.auth import Authentication, load_keys
from serving.app.core.emf import MetricLines
from serving.app.core.incidents import IncidentLog
from serving.app.core.limits import BodyLimit, ConcurrencyLimit
from serving.app.core.metrics import Metrics
from serving.app.core.middleware import RequestMiddleware, RouteNames
from serving.app.core.oidc import TokenVerifier
from serving.app.core.origin import OwnSite
from serving.app.core.rate import RateLimit, RateWindows
from serving.app.core.service import Service
from serving.app.core.telemetry import make_logger
from serving.app.documents import routes as document_routes
from serving.app.documents.service import DocumentService
from serving.app.opening import open_budgets, open_mcp, open_scores, open_spans, open_trace_writer
from serving.app.query import routes
from serving.app.query.wire import ProblemOut, QueryIn
from serving.app.release.added import DocumentFollower
from serving.app.release.loaded import load
from serving.app.release.manager import ReleaseManager
from serving.app.release.shadow import ShadowRuns
from serving.app.server.memory import settle_memory
from serving.app.server.repeats import RepeatedEvents
from serving.app.settings import AppSettings
from serving.app.traces import routes as trace_routes
from serving.app.traces.wire import FeedbackIn
from serving.app.web.page import page_router
from serving.documents.open import open_documents
from serving.pipeline.observer import Observers

DOORS = (routes, document_routes, trace_routes, dify, openai, admin_routes)


def create_app(
    settings: AppSettings | None = None, *, release_manager: ReleaseManager | None = None, log: FilteringBoundLogger | None = None
) -> FastAPI:
    """The API over a channel's release; it starts without one, says so at /readyz, and takes it up when it comes."""
    settings = settings or AppSettings()
    log = log or make_logger(settings)
    concurrency, metrics = ConcurrencyLimit(settings.max_running, settings.max_waiting), Metrics()
    metrics.watch(concurrency)
    metrics.watch_cache(lambda: manager.serving.pipeline.cache if manager.serving else None)
    store = open_documents(settings)
    manager = release_manager or ReleaseManager(settings, log, load=partial(load, documents=store), after_swap=settle_memory)
    shadows = ShadowRuns(
        log,
        most=settings.shadow_running,
        usd_per_hour=settings.shadow_usd_per_hour,
        timeout_s=settings.request_timeout_s,
        compared=metrics.shadow_compared,
    )
    keys = load_keys(settings, log)
    metrics.watch_keys(lambda: keys is not None and keys.unreadable)
    metrics.budget(settings.usd_per_day)
    writer, spans, scores = open_trace_writer(settings, log), open_spans(settings), open_scores(settings, log)
    observers = Observers(
        [metrics, IncidentLog(log), *([writer] if writer else []), *([spans] if spans else []), *([scores] if scores else [])]
    )
    budgets = open_budgets(settings, log)
    documents = DocumentFollower(store, manager, settings, log, traces=writer)
    metrics.watch_documents(lambda: documents.state)
    library, uploads = DocumentService(settings, documents, manager, log), ConcurrencyLimit(settings.max_uploads, 2 * settings.max_uploads)
    service = Service(
        settings, manager, concurrency, keys, metrics, log, observers, RepeatedEvents(), shadows, budgets, documents, library, uploads,
        writer, scores,
    )  # fmt: skip
    metrics.watch_traces(lambda: writer.lost if writer else 0, lambda: writer.waiting if writer else 0, lambda: shadows.left_out)
    metrics.watch_scores(lambda: scores.lost if scores else 0, lambda: scores.waiting if scores else 0)
    windows = RateWindows(settings.redis, log)
    mcp = open_mcp(settings, log, settings.version or _version())

    async def update_gauges() -> None:
        metrics.state(await manager.probed_readiness())

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(service.release_manager.run()), asyncio.create_task(service.repeats.report(log))]
        if settings.emf:
            tasks.append(asyncio.create_task(MetricLines(metrics.registry, settings.channel).run(update_gauges)))
        tasks.append(asyncio.create_task(documents.run()))
        if writer:
            writer.start()
        if scores:
            scores.start()
        log.info("started", channel=settings.channel, keys=len(service.keys) if service.keys is not None else None)
        try:
            async with mcp.manager.run() if mcp else nullcontext():
                yield
        finally:
            for task in tasks:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
            await documents.aclose()
            await shadows.close()
            await budgets.close()
            await windows.close()
            await service.release_manager.aclose()
            if writer:
                await asyncio.to_thread(writer.close)
            if spans:
                await asyncio.to_thread(spans.close)
            if scores:
                await asyncio.to_thread(scores.close)
            service.repeats.log(log)
            log.info("stopped")

    app = FastAPI(
        title="Touchstone",
        summary="Answers from your documents, by a configuration that was proven first.",
        version=settings.version or _version(),
        lifespan=lifespan,
        docs_url=None,  # Swagger's page loads its parts from elsewhere; /openapi.json is there for any tool
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.service = service
    problems.install(app)
    models: tuple[type[BaseModel], ...] = (ProblemOut, QueryIn, FeedbackIn, dify.DifyIn, openai.ChatIn, openai.ResponsesIn, *MOVES)
    openapi.install(app, *models, question_chars=settings.max_question_chars, authenticated=service.authenticated)
    routers = (*(door.router for door in DOORS), health.router, page_router())
    for router in routers:
        app.include_router(router)
    bodies = frozenset[str]().union(*(door.BODIES for door in DOORS))
    app.add_middleware(BodyLimit, paths=bodies, most=settings.max_body_bytes, timeout_s=settings.body_timeout_s)
    if mcp:
        app.router.routes.append(mcp.route)
    app.add_middleware(RateLimit, windows=windows, per_minute=settings.max_per_minute)
    app.add_middleware(Authentication, keys=service.keys, tokens=TokenVerifier(settings, log) if settings.oidc_issuer else None)
    app.add_middleware(OwnSite, keyless=not service.authenticated)
    app.add_middleware(
        RequestMiddleware, service=service, routes=RouteNames([*app.routes, *(route for router in routers for route in router.routes)])
    )
    return app


def _version() -> str:
    try:
        return version("touchstone-rag")
    except PackageNotFoundError:  # run from a folder that was never installed
        return "0"
