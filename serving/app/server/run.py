"""Runs the app on uvicorn, behind the connection gate."""

from contextlib import suppress
from functools import partial
from typing import Any, Final, cast

import uvicorn
from fastapi import FastAPI

from serving.app.core.service import Service
from serving.app.core.telemetry import uvicorn_logging
from serving.app.server.connections import BoundedProtocol, ConnectionGate, ConnectionLimits
from serving.app.server.open_files import raise_open_files
from serving.app.settings import AppSettings

SHUTDOWN_MARGIN_S: Final = 5  # after the longest question, when stopping
BACKLOG: Final = 128  # accepted in one go, before any is counted: fewer than the files that are kept in reserve
LARGEST_HEAD: Final = 16_384  # bytes of a request line with its headers


def serve(app: FastAPI, settings: AppSettings, host: str, port: int) -> None:
    """Serve until told to stop; running questions end first."""
    gate = connection_gate(app, settings)
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        http=protocol_of(gate),
        ws="none",
        log_config=uvicorn_logging(settings, _service(app).repeats),
        access_log=False,  # the app writes its own line per request
        server_header=False,
        backlog=BACKLOG,
        h11_max_incomplete_event_size=LARGEST_HEAD,
        timeout_graceful_shutdown=int(settings.request_timeout_s) + SHUTDOWN_MARGIN_S,
    )
    with suppress(KeyboardInterrupt):
        uvicorn.Server(config).run()


def connection_gate(app: FastAPI, settings: AppSettings) -> ConnectionGate:
    """The gate by the settings, as wide as this process's limit of open files lets."""
    service = _service(app)
    total = raise_open_files(settings.max_connections)
    if total < settings.max_connections:
        service.log.warning(
            "fewer connections", wanted=settings.max_connections, allowed=total, reason="the limit of open files (ulimit -n)"
        )
    gate = ConnectionGate(ConnectionLimits.of(settings, total), service.log, service.repeats, on_ended=service.metrics.connection_ended)
    service.metrics.watch_connections(gate)
    return gate


def protocol_of(gate: ConnectionGate) -> Any:
    """What uvicorn makes of each connection; it calls it like a class."""
    return partial(BoundedProtocol, gate=gate)


def _service(app: FastAPI) -> Service:
    return cast(Service, app.state.service)
