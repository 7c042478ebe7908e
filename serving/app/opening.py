"""Opens what an app may do without: budgets, traces, spans, the door for agents; each as the settings say."""

import time
from typing import TYPE_CHECKING, Any

from structlog.typing import FilteringBoundLogger

from serving.app.core.budget import BudgetLedger, Budgets, MemoryLedger
from serving.app.core.scores import ScoreWriter
from serving.app.settings import AppSettings
from serving.app.traces.writer import TraceWriter
from serving.pipeline.checks.pii import find_pii
from serving.pipeline.errors import ConfigError
from serving.pipeline.packages import install_command
from serving.traces.open import open_traces
from serving.traces.privacy import masked_text, without_personal_data

if TYPE_CHECKING:
    from serving.app.compatible.mcp import McpDoor
    from serving.app.core.spans import SpanWriter

SECONDS_A_DAY = 86_400.0


def open_spans(settings: AppSettings) -> "SpanWriter | None":
    """What sends spans, where a receiver is named."""
    if not settings.otlp_traces:
        return None
    try:
        from serving.app.core.spans import SpanWriter
    except ImportError as error:
        raise ConfigError(f"TOUCHSTONE_OTLP_TRACES needs OpenTelemetry ({error}). Install it: {install_command('otlp')}") from error
    return SpanWriter(settings)


def open_scores(settings: AppSettings, log: FilteringBoundLogger) -> ScoreWriter | None:
    """What sends scores, where a receiver of them is named."""
    return None if settings.scores == "none" else ScoreWriter(settings, log)


def open_mcp(settings: AppSettings, log: FilteringBoundLogger, version: str) -> "McpDoor | None":
    """The door for agents, where its package is installed."""
    try:
        from serving.app.compatible.mcp import McpDoor
    except ImportError:
        log.info("no MCP", reason=f"the package mcp is not installed: {install_command('mcp')}")
        return None
    return McpDoor(version, settings.max_body_bytes)


def open_budgets(settings: AppSettings, log: FilteringBoundLogger) -> Budgets:
    """What counts money: one ledger for all processes where Redis is named, else this process's own."""
    alone = MemoryLedger(time.monotonic)
    ledger: BudgetLedger = alone
    if settings.redis:
        try:
            from serving.app.core.redis_ledger import RedisLedger
        except ImportError as error:
            raise ConfigError(f"TOUCHSTONE_REDIS needs the package redis ({error}). Install it: {install_command('redis')}") from error
        ledger = RedisLedger(settings.redis)
    return Budgets(ledger, log, server_usd=settings.usd_per_day, lasts_s=2 * settings.request_timeout_s, alone=alone)


def open_trace_writer(settings: AppSettings, log: FilteringBoundLogger) -> TraceWriter | None:
    """What writes traces into their store; nothing where the settings say so."""
    if not settings.keep_traces:
        return None
    place = settings.traces or str(settings.home / "traces.db")
    store = open_traces(place, settings, retention_days=settings.trace_days, endpoint=settings.dynamodb_endpoint)
    masks: dict[str, Any] = {}
    try:
        find_pii("")
        masks = {"mask": without_personal_data, "mask_text": masked_text}
    except ConfigError as error:
        log.warning("personal data stays in traces", reason=str(error))
    return TraceWriter(store, log, most=settings.traces_waiting, retention_s=settings.trace_days * SECONDS_A_DAY, **masks)
