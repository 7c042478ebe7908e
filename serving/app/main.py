"""Builds the app."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext, suppress
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from fastapi import FastAPI
from structlog.typing import FilteringBoundLogger

from serving.app.compatible import dify, openai
from serving.app.core import health, openapi, problems
from serving.app.core.auth import Authentication, load_keys
from serving.app.core.budget import BudgetLedger, Budgets, MemoryLedger
from serving.app.core.incidents import IncidentLog
from serving.app.core.limits import BodyLimit, ConcurrencyLimit
from serving.app.core.metrics import Metrics
from serving.app.core.middleware import RequestMiddleware, RouteNames
from serving.app.core.oidc import TokenVerifier
from serving.app.core.rate import RateLimit
from serving.app.core.service import Service
from serving.app.core.telemetry import make_logger
from serving.app.query import routes
from serving.app.query.wire import ProblemOut, QueryIn
from serving.app.release.manager import ReleaseManager
from serving.app.release.shadow import ShadowRuns
from serving.app.server.memory import settle_memory
from serving.app.server.repeats import RepeatedEvents
from serving.app.settings import AppSettings
from serving.app.traces import routes as trace_routes
from serving.app.traces.wire import FeedbackIn
from serving.app.traces.writer import TraceWriter
from serving.app.web.page import page_router
from serving.pipeline.errors import ConfigError
from serving.pipeline.observer import Observers
from serving.pipeline.packages import install_command
from serving.traces.base import TraceStore
from serving.traces.open import open_traces

if TYPE_CHECKING:
    from serving.app.compatible.mcp import McpDoor
    from serving.app.core.spans import SpanWriter

DOORS = (routes, trace_routes, dify, openai)
SECONDS_A_DAY = 86_400.0


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
    shadows = ShadowRuns(log, most=settings.shadow_running, usd_per_hour=settings.shadow_usd_per_hour, timeout_s=settings.request_timeout_s)
    keys = load_keys(settings, log)
    store, writer = _traces(settings, log)
    spans = _spans(settings)
    observers = Observers([metrics, IncidentLog(log), *([writer] if writer else []), *([spans] if spans else [])])
    budgets = _budgets(settings, log)
    service = Service(settings, manager, concurrency, keys, metrics, log, observers, RepeatedEvents(), shadows, budgets, store, writer)
    metrics.watch_traces(lambda: writer.lost if writer else 0, lambda: writer.waiting if writer else 0, lambda: shadows.left_out)

    mcp = _mcp_door(settings, log)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(service.release_manager.run()), asyncio.create_task(service.repeats.report(log))]
        if writer:
            writer.start()
        log.info("started", channel=settings.channel, keys=len(service.keys) if service.keys is not None else None)
        try:
            async with mcp.manager.run() if mcp else nullcontext():
                yield
        finally:
            for task in tasks:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
            await shadows.close()
            await service.release_manager.aclose()
            if writer:
                await asyncio.to_thread(writer.close)
            if spans:
                await asyncio.to_thread(spans.close)
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
    openapi.install(app, ProblemOut, QueryIn, FeedbackIn, dify.DifyIn, openai.ChatIn, openai.ResponsesIn)
    routers = (*(door.router for door in DOORS), health.router, page_router())
    for router in routers:
        app.include_router(router)
    bodies = frozenset[str]().union(*(door.BODIES for door in DOORS))
    app.add_middleware(BodyLimit, paths=bodies, most=settings.max_body_bytes, timeout_s=settings.body_timeout_s)
    if mcp:
        app.router.routes.append(mcp.route)
    app.add_middleware(RateLimit, per_minute=settings.max_per_minute)
    app.add_middleware(Authentication, keys=service.keys, tokens=TokenVerifier(settings, log) if settings.oidc_issuer else None)
    app.add_middleware(
        RequestMiddleware, service=service, routes=RouteNames([*app.routes, *(route for router in routers for route in router.routes)])
    )
    return app


def _spans(settings: AppSettings) -> "SpanWriter | None":
    """What sends spans, where a receiver is named."""
    if not settings.otlp_traces:
        return None
    try:
        from serving.app.core.spans import SpanWriter
    except ImportError as error:
        raise ConfigError(f"TOUCHSTONE_OTLP_TRACES needs OpenTelemetry ({error}). Install it: {install_command('otlp')}") from error
    return SpanWriter(settings)


def _mcp_door(settings: AppSettings, log: FilteringBoundLogger) -> "McpDoor | None":
    """The door for agents, where its package is installed."""
    try:
        from serving.app.compatible.mcp import McpDoor
    except ImportError:
        log.info("no MCP", reason=f"the package mcp is not installed: {install_command('mcp')}")
        return None
    return McpDoor(_version(), settings.max_body_bytes)


def _budgets(settings: AppSettings, log: FilteringBoundLogger) -> Budgets:
    alone = MemoryLedger(time.monotonic)
    ledger: BudgetLedger = alone
    if settings.redis:
        from serving.app.core.redis_ledger import RedisLedger

        ledger = RedisLedger(settings.redis)
    return Budgets(ledger, log, server_usd=settings.usd_per_day, lasts_s=2 * settings.request_timeout_s, alone=alone)


def _traces(settings: AppSettings, log: FilteringBoundLogger) -> tuple[TraceStore | None, TraceWriter | None]:
    """The store of traces and what writes to it; neither where the settings say so."""
    if not settings.keep_traces:
        return None, None
    place = settings.traces or str(settings.home / "traces.db")
    store = open_traces(place, settings, retention_days=settings.trace_days, endpoint=settings.dynamodb_endpoint)
    return store, TraceWriter(store, log, most=settings.traces_waiting, retention_s=settings.trace_days * SECONDS_A_DAY)


def _version() -> str:
    try:
        return version("touchstone-rag")
    except PackageNotFoundError:  # run from a folder that was never installed
        return "0"
