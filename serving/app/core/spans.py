"""OpenTelemetry spans of answered questions, by the GenAI conventions: one for the question and one for each of its stages.

They are made of the trace when the question has ended, so none waits for them; a batch goes out by OTLP/HTTP in a thread of its own.
"""

from contextvars import ContextVar
from datetime import datetime
from typing import Any, Final

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from serving.app.core.span_ids import span_trace_id
from serving.app.core.telemetry import TRACEPARENT
from serving.app.settings import AppSettings, header_pairs
from serving.pipeline.observer import NullObserver
from serving.pipeline.types import Query, StageRecord, Trace

SECOND_NS: Final = 1_000_000_000


class _TraceIds(RandomIdGenerator):
    """Trace ids derived from the question's trace, so that later feedback finds its spans."""

    def __init__(self) -> None:
        self.wanted: ContextVar[int] = ContextVar("the id of the next trace", default=0)

    def generate_trace_id(self) -> int:
        """The wanted one, once."""
        wanted = self.wanted.get()
        self.wanted.set(0)
        return wanted or super().generate_trace_id()


class SpanWriter(NullObserver):
    """An observer that sends the spans of each question."""

    def __init__(self, settings: AppSettings, exporter: SpanExporter | None = None) -> None:
        self._with_content = settings.otlp_content
        sampler = ParentBased(TraceIdRatioBased(settings.otlp_share))
        resource = Resource.create({"service.name": "touchstone", "deployment.environment.name": settings.channel})
        self._ids = _TraceIds()
        self._provider = TracerProvider(resource=resource, sampler=sampler, shutdown_on_exit=False, id_generator=self._ids)
        sends = exporter or OTLPSpanExporter(
            endpoint=settings.otlp_traces, headers=header_pairs(settings.otlp_headers.get_secret_value()), timeout=settings.otlp_timeout_s
        )
        self._provider.add_span_processor(BatchSpanProcessor(sends))
        self._tracer = self._provider.get_tracer("touchstone")

    def failed(self, query: Query, error: BaseException) -> None:
        """A span without stages, so that failures are seen beside answers."""
        span = self._tracer.start_span("query", context=_caller(), kind=SpanKind.SERVER)
        span.set_status(Status(StatusCode.ERROR, type(error).__name__))
        span.set_attribute("error.type", type(error).__name__)
        span.end()

    def answered(self, trace: Trace) -> None:
        """The spans of a question."""
        start = round(datetime.fromisoformat(trace.started_at).timestamp() * SECOND_NS)
        self._ids.wanted.set(int(span_trace_id(trace.id, ""), 16))
        root = self._tracer.start_span("query", context=_caller(), kind=SpanKind.SERVER, start_time=start, attributes=self._facts(trace))
        inside, begun = set_span_in_context(root), start
        for stage in trace.stages:
            ended = begun + _nanoseconds(stage.milliseconds)
            name = f"chat {trace.answer.model}" if stage.stage == "answer" and trace.answer.model else stage.stage
            span = self._tracer.start_span(name, context=inside, start_time=begun, attributes=self._stage_facts(stage, trace))
            span.end(ended)
            begun = ended
        root.end(max(begun, start + _nanoseconds(trace.milliseconds)))

    def close(self) -> None:
        """Send what waits."""
        self._provider.shutdown()

    def _facts(self, trace: Trace) -> dict[str, Any]:
        facts: dict[str, Any] = {
            "touchstone.trace_id": trace.id,
            "touchstone.release": trace.release_digest,
            "touchstone.role": trace.role,
            "touchstone.tenant": trace.query.principal.tenant,
            "touchstone.refused": trace.answer.refused,
            "touchstone.cached": trace.cached,
            "touchstone.tier": trace.route.tier if trace.route else "",
            "touchstone.usd": trace.usd,
            "touchstone.input_tokens": sum(usage.input_tokens for usage in trace.usage),
            "touchstone.output_tokens": sum(usage.output_tokens for usage in trace.usage),
        }
        if trace.answer.confidence is not None:
            facts["touchstone.confidence"] = trace.answer.confidence
        if self._with_content:
            facts |= {"input.value": trace.query.text, "output.value": trace.answer.text}
        return facts

    def _stage_facts(self, stage: StageRecord, trace: Trace) -> dict[str, Any]:
        facts: dict[str, Any] = {"touchstone.stage": stage.stage}
        facts |= {f"touchstone.{name}": value for name, value in stage.detail.items() if isinstance(value, str | int | float | bool)}
        if stage.stage == "answer" and trace.answer.model:
            provider, _, model = trace.answer.model.partition(":")
            facts |= {"gen_ai.operation.name": "chat", "gen_ai.provider.name": provider, "gen_ai.request.model": model or provider}
            # on this span alone: receivers add up whatever has these names
            own = [usage for usage in trace.usage if usage.stage == "answer" and usage.model == trace.answer.model]
            facts["gen_ai.usage.input_tokens"] = sum(usage.input_tokens for usage in own)
            facts["gen_ai.usage.output_tokens"] = sum(usage.output_tokens for usage in own)
        return facts


def _caller() -> Context | None:
    traceparent = TRACEPARENT.get()
    return TraceContextTextMapPropagator().extract({"traceparent": traceparent}) if traceparent else None


def _nanoseconds(milliseconds: float) -> int:
    return round(milliseconds * 1_000_000)
