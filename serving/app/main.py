"""Builds the app."""

from importlib.metadata import PackageNotFoundError, version

from fastapi import FastAPI
from pydantic import BaseModel
from structlog.typing import FilteringBoundLogger

from serving.app.admin import routes as admin_routes
from serving.app.admin.wire import MOVES
from serving.app.compatible import dify, openai
from serving.app.core import health, openapi, problems
from serving.app.core.auth import Authentication
from serving.app.core.limits import BodyLimit
from serving.app.core.middleware import RequestMiddleware, RouteNames
from serving.app.core.oidc import TokenVerifier
from serving.app.core.origin import SameOrigin
from serving.app.core.rate import RateLimit
from serving.app.core.telemetry import make_logger
from serving.app.core.wire import ProblemOut
from serving.app.documents import routes as document_routes
from serving.app.lifetime import running
from serving.app.opening import open_mcp, open_service
from serving.app.query import routes
from serving.app.query.wire import QueryIn
from serving.app.release.manager import ReleaseManager
from serving.app.settings import AppSettings
from serving.app.traces import routes as trace_routes
from serving.app.traces.wire import FeedbackIn
from serving.app.web.page import page_router

ROUTES = (routes, document_routes, trace_routes, dify, openai, admin_routes)


def create_app(
    settings: AppSettings | None = None, *, release_manager: ReleaseManager | None = None, log: FilteringBoundLogger | None = None
) -> FastAPI:
    """The API over a channel's release; it starts without one, reports that at /readyz, and loads it once promoted."""
    settings = settings or AppSettings()
    log = log or make_logger(settings)
    code_version = settings.version or _version()
    service, mcp = open_service(settings, log, release_manager), open_mcp(settings, log, code_version)
    app = FastAPI(
        title="Touchstone",
        summary="Answers from your documents, by a configuration that was proven first.",
        version=code_version,
        lifespan=lambda app: running(service, mcp),
        docs_url=None,  # Swagger's page loads its parts from elsewhere; /openapi.json is there for any tool
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.service = service
    models: tuple[type[BaseModel], ...] = (ProblemOut, QueryIn, FeedbackIn, dify.DifyIn, openai.ChatIn, openai.ResponsesIn, *MOVES)
    openapi.install(app, *models, question_chars=settings.max_question_chars, authenticated=service.authenticated)
    routers = (*(module.router for module in ROUTES), health.router, page_router())
    problems.install(app, [route for router in routers for route in router.routes])
    for router in routers:
        app.include_router(router)
    bodies = frozenset[str]().union(*(module.BODY_PATHS for module in ROUTES))
    app.add_middleware(BodyLimit, paths=bodies, most=settings.max_body_bytes, timeout_s=settings.body_timeout_s)
    if mcp:
        app.router.routes.append(mcp.route)
    app.add_middleware(RateLimit, windows=service.rates, per_minute=settings.max_per_minute)
    tokens = TokenVerifier(settings, log) if settings.oidc_issuer else None
    app.add_middleware(Authentication, keys=service.keys, tokens=tokens, refused=service.audit.refused_request)
    app.add_middleware(SameOrigin, keyless=not service.authenticated)
    app.add_middleware(
        RequestMiddleware, service=service, routes=RouteNames([*app.routes, *(route for router in routers for route in router.routes)])
    )
    return app


def _version() -> str:
    try:
        return version("touchstone-rag")
    except PackageNotFoundError:  # run from a folder that was never installed
        return "0"
