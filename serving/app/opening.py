"""Opens the parts of an app as the settings say; traces, spans, scores and the MCP endpoint are optional."""

import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from structlog.typing import FilteringBoundLogger

from serving.app.core.audit import ApiAudit
from serving.app.core.auth import load_keys
from serving.app.core.budget import BudgetLedger, Budgets, MemoryLedger
from serving.app.core.incidents import IncidentLog
from serving.app.core.limits import ConcurrencyLimit, UploadLimit
from serving.app.core.metrics import Metrics
from serving.app.core.rate import RateWindows
from serving.app.core.scores import ScoreWriter
from serving.app.core.service import Service
from serving.app.core.stores import Stores
from serving.app.documents.service import DocumentService
from serving.app.release.added import DocumentFollower
from serving.app.release.loaded import load
from serving.app.release.manager import ReleaseManager
from serving.app.release.shadow import ShadowRuns
from serving.app.server.garbage import settle_memory
from serving.app.server.repeats import RepeatedEvents
from serving.app.settings import AppSettings
from serving.app.traces.writer import TraceWriter
from serving.audit.open import open_audit
from serving.documents.open import open_documents
from serving.pipeline.checks.pii import find_pii
from serving.pipeline.errors import ConfigError
from serving.pipeline.observer import Observers
from serving.pipeline.packages import install_command
from serving.pipeline.redis.address import RedisAddress
from serving.pipeline.settings import DYNAMODB, SECONDS_A_DAY
from serving.pipeline.types import Draw, Query
from serving.traces.journal import TraceJournal
from serving.traces.open import open_traces
from serving.traces.privacy import masked_text, without_personal_data

if TYPE_CHECKING:
    from serving.app.compatible.mcp import McpEndpoint
    from serving.app.core.spans import SpanWriter


def open_service(settings: AppSettings, log: FilteringBoundLogger, release_manager: ReleaseManager | None = None) -> Service:
    """All parts, of which nothing runs yet."""
    metrics, keys, store = Metrics(), load_keys(settings, log), open_documents(settings)
    manager = release_manager or ReleaseManager(settings, log, load=partial(load, documents=store), after_swap=settle_memory)
    traces, spans, scores = open_trace_writer(settings, log), open_spans(settings), open_scores(settings, log)
    repeats, stores = RepeatedEvents(), Stores()
    keyless = keys is None and not settings.oidc_issuer
    audit = ApiAudit(open_audit(settings), settings, metrics=metrics, repeats=repeats, log=log, keyless=keyless, calls=stores.audit)
    documents = DocumentFollower(store, manager, settings, log, traces=traces)
    service = Service(
        settings,
        manager,
        ConcurrencyLimit(settings.max_running, settings.max_waiting),
        keys,
        metrics,
        log,
        Observers([metrics, IncidentLog(log), *(one for one in (traces, spans, scores) if one)]),
        repeats,
        open_shadows(settings, log, metrics, traces),
        open_budgets(settings, log),
        documents,
        audit,
        DocumentService(settings, documents, manager, audit, log, calls=stores.documents),
        uploads=UploadLimit(settings.max_uploads),
        rates=RateWindows(RedisAddress.of(settings) if settings.redis else None, log),
        stores=stores,
        traces=traces,
        spans=spans,
        scores=scores,
    )
    watch(metrics, service)
    return service


def watch(metrics: Metrics, service: Service) -> None:
    """Let every scrape read the metrics of the parts."""
    keys, traces, scores, manager = service.keys, service.traces, service.scores, service.release_manager
    metrics.watch(service.concurrency)
    metrics.watch_cache(lambda: manager.serving.pipeline.cache if manager.serving else None)
    metrics.watch_keys(lambda: keys is not None and keys.unreadable)
    metrics.watch_documents(lambda: service.documents.state)
    metrics.watch_traces(lambda: traces.lost if traces else 0, lambda: traces.waiting if traces else 0, lambda: service.shadows.left_out)
    if traces:
        metrics.watch_journal(lambda: traces.unjournaled, lambda: traces.replayed, lambda: traces.dropped)
    metrics.watch_scores(lambda: scores.lost if scores else 0, lambda: scores.waiting if scores else 0)
    metrics.budget(service.settings.usd_per_day)


def open_shadows(settings: AppSettings, log: FilteringBoundLogger, metrics: Metrics, traces: TraceWriter | None) -> ShadowRuns:
    """What asks a shadow release the questions of others."""

    def failed(query: Query, draw: Draw, pair: str) -> None:
        if traces is not None:
            traces.unanswered(query, draw, draw.candidate, pair)

    return ShadowRuns(
        log,
        most=settings.shadow_running,
        usd_per_hour=settings.shadow_usd_per_hour,
        timeout_s=settings.request_timeout_s,
        compared=metrics.shadow_compared,
        failed=failed,
    )


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


def open_mcp(settings: AppSettings, log: FilteringBoundLogger, version: str) -> "McpEndpoint | None":
    """The MCP endpoint, where its package is installed."""
    try:
        from serving.app.compatible.mcp import McpEndpoint
    except ImportError:
        log.info("no MCP", reason=f"the package mcp is not installed: {install_command('mcp')}")
        return None
    return McpEndpoint(version, settings.max_body_bytes)


def open_budgets(settings: AppSettings, log: FilteringBoundLogger) -> Budgets:
    """What counts money: one ledger for all processes where Redis is named, else this process's own."""
    local = MemoryLedger(time.monotonic)
    ledger: BudgetLedger = local
    if settings.redis:
        try:
            from serving.app.core.redis_ledger import RedisLedger
        except ImportError as error:
            raise ConfigError(f"TOUCHSTONE_REDIS needs the package redis ({error}). Install it: {install_command('redis')}") from error
        ledger = RedisLedger(RedisAddress.of(settings))
    return Budgets(ledger, log, server_usd=settings.usd_per_day, lasts_s=2 * settings.request_timeout_s, local=local)


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
    folder = settings.traces_journal or (str(settings.home / "trace-journal") if place.startswith(DYNAMODB) else "none")
    journal = None if folder == "none" else TraceJournal(Path(folder))
    return TraceWriter(store, log, most=settings.traces_waiting, retention_s=settings.trace_days * SECONDS_A_DAY, journal=journal, **masks)
