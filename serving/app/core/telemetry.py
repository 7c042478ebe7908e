"""Logs: one JSON object per line, with no question and no secret in them."""

import logging
import sys
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, Final, TextIO, cast

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor

from serving.app.core.span_ids import TRACEPARENT_FORM
from serving.app.server.repeats import RepeatedEvents, RepeatFilter
from serving.app.settings import AppSettings
from serving.pipeline.digest import digest_text
from serving.pipeline.redact import without_password
from serving.pipeline.types import GuardAction, Query, Trace

TRACEPARENT: Final[ContextVar[str]] = ContextVar("the traceparent of the request that is being answered", default="")


def make_logger(settings: AppSettings, stream: TextIO | None = None) -> FilteringBoundLogger:
    """A logger of the app's own; nothing global is configured."""
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    return cast(
        FilteringBoundLogger,
        structlog.wrap_logger(
            structlog.WriteLogger(stream or sys.stdout),
            processors=[*_common_processors(), *_rendering_processors(settings)],
            wrapper_class=structlog.make_filtering_bound_logger(level),
            cache_logger_on_first_use=False,
        ),
    )


def uvicorn_logging(settings: AppSettings, repeats: RepeatedEvents) -> dict[str, Any]:
    """A logging configuration under which the server's own lines look like ours, and a warning that repeats itself is counted."""
    formatter = {
        "()": structlog.stdlib.ProcessorFormatter,
        "foreign_pre_chain": [structlog.stdlib.add_logger_name, *_common_processors()],
        "processors": [structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_rendering_processors(settings)],
    }
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": formatter},
        "filters": {"repeats": {"()": lambda: RepeatFilter(repeats)}},
        "handlers": {
            "stdout": {"class": "logging.StreamHandler", "stream": "ext://sys.stdout", "formatter": "line", "filters": ["repeats"]}
        },
        "loggers": {"uvicorn": {"handlers": ["stdout"], "level": settings.log_level.upper(), "propagate": False}},
        "root": {"handlers": ["stdout"], "level": "WARNING"},
    }


def facts_of_query(query: Query) -> dict[str, Any]:
    """The loggable facts of a query before it was checked: nothing that reveals its text."""
    return {"principal": query.principal.id, "question_chars": len(query.text)}


def facts_of_trace(trace: Trace) -> dict[str, Any]:
    """The loggable facts of an answer."""
    return {
        **_question_digest(trace),
        "trace_id": trace.id,
        "release": trace.release_digest,
        "role": trace.role,
        "refused": trace.answer.refused,
        "degraded": trace.answer.degraded,
        "outages": [f"{one.tier} {one.error}" for one in trace.outages],
        "confidence": trace.answer.confidence,
        "warnings": len(trace.answer.warnings),
        "cached": trace.cached,
        "cache": (trace.cache.kind or trace.cache.reason.partition(":")[0]) if trace.cache else None,
        "tier": trace.route.tier if trace.route else None,
        "model": trace.answer.model,
        "hits": len(trace.hits),
        "passages": len(trace.passages),
        "citations": len(trace.answer.citations),
        "usd": trace.usd,
        "stage_ms": [[stage.stage, stage.milliseconds] for stage in trace.stages],
    }


def _question_digest(trace: Trace) -> dict[str, str]:
    """A digest that identifies repeats; none of a question that a check changed: the digest of a telephone number can be guessed."""
    touched = any(one.side == "input" and one.action in (GuardAction.MASK, GuardAction.BLOCK) for one in trace.guard)
    return {} if touched else {"question_digest": digest_text(trace.query.text)}


def caller_trace(traceparent: str | None) -> dict[str, str]:
    """The caller's trace and span by its W3C `traceparent` header; nothing of one that is malformed."""
    match = TRACEPARENT_FORM.fullmatch(traceparent or "")
    return {"caller_trace_id": match["trace"], "caller_span_id": match["span"]} if match else {}


def _common_processors() -> list[Processor]:
    return [structlog.processors.add_log_level, structlog.processors.TimeStamper(fmt="iso", utc=True)]


def _rendering_processors(settings: AppSettings) -> list[Processor]:
    cleaning: list[Processor] = [structlog.processors.format_exc_info, _without_passwords]
    if settings.log_format == "text":
        return [*cleaning, structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)]
    return [*cleaning, structlog.processors.JSONRenderer(sort_keys=True)]


def _without_passwords(logger: object, method: str, event: EventDict) -> EventDict:
    """The log line with passwords in URLs redacted, also those in a library's messages and exceptions."""
    return {name: _shown(value) for name, value in event.items()}


def _shown(value: Any) -> Any:
    """A value as it may be written; what is no plain data becomes its text."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {str(name): _shown(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_shown(inner) for inner in value]
    return without_password(str(value))
