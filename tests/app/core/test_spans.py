"""Spans as a receiver gets them: by OTLP over HTTP, from the server itself."""

import base64
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from serving.pipeline.answer.answerer import Emit
from serving.pipeline.errors import ModelError
from serving.pipeline.types import Query
from tests.app.making import QUESTION, SAYS, House, interrupted, opened

CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Receiver:
    """What a collector is to us."""

    def __init__(self) -> None:
        self.requests: list[ExportTraceServiceRequest] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    import gzip

                    body = gzip.decompress(body)
                receiver.requests.append(ExportTraceServiceRequest.FromString(body))
                receiver.paths.append(self.path)
                receiver.headers.append({name.lower(): value for name, value in self.headers.items()})
                self.send_response(200)
                self.end_headers()

            def log_message(self, *given: Any) -> None:
                """Nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        self.base = f"http://127.0.0.1:{self.server.server_port}"
        self.address = f"{self.base}/v1/traces"

    @property
    def spans(self) -> list[Any]:
        return [span for request in self.requests for of in request.resource_spans for scope in of.scope_spans for span in scope.spans]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.server.shutdown()
    made.server.server_close()


def facts(span: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in span.attributes}


async def test_a_question_is_a_span_with_one_for_each_stage_in_the_callers_trace(furnished: House, receiver: Receiver) -> None:
    async with opened(furnished.settings(otlp_traces=receiver.address, otlp_headers="x-key=secret-of-the-receiver")) as api:
        answer = await api.client.post("/v1/query", json={"question": QUESTION}, headers={"traceparent": CALLER})
    spans = {span.name: span for span in receiver.spans}
    root, chat = spans["query"], spans["chat local:echo"]
    assert set(spans) == {"query", "guard", "cache", "retrieve", "route", "chat local:echo"}
    assert root.trace_id.hex() == "0af7651916cd43dd8448eb211c80319c"
    assert root.parent_span_id.hex() == "b7ad6b7169203331"
    assert {span.parent_span_id for name, span in spans.items() if name != "query"} == {root.span_id}
    assert all(root.start_time_unix_nano <= span.start_time_unix_nano <= span.end_time_unix_nano for span in spans.values())
    assert facts(root)["touchstone.trace_id"] == answer.json()["trace_id"]
    assert (facts(root)["touchstone.role"], facts(root)["touchstone.tier"]) == ("stable", "lite")
    assert facts(chat)["gen_ai.operation.name"] == "chat"
    assert (facts(chat)["gen_ai.provider.name"], facts(chat)["gen_ai.request.model"]) == ("local", "echo")
    used = answer.json()["usage"]
    assert facts(chat)["gen_ai.usage.output_tokens"] == used["output_tokens"] > 0
    assert facts(root)["touchstone.output_tokens"] == used["output_tokens"]
    assert [name for name, span in spans.items() if any(key.startswith("gen_ai.usage.") for key in facts(span))] == ["chat local:echo"]
    assert receiver.headers[0]["x-key"] == "secret-of-the-receiver"
    assert QUESTION not in str(receiver.requests) and SAYS not in str(receiver.requests)
    assert "secret-of-the-receiver" not in api.log_text


async def test_questions_and_answers_are_sent_where_that_is_wished(furnished: House, receiver: Receiver) -> None:
    async with opened(furnished.settings(otlp_traces=receiver.address, otlp_content=True)) as api:
        await api.ask()
    [root] = [span for span in receiver.spans if span.name == "query"]
    assert (facts(root)["input.value"], facts(root)["output.value"]) == (QUESTION, SAYS)


async def test_a_question_that_failed_is_a_span_of_its_error(furnished: House, receiver: Receiver) -> None:
    async with opened(furnished.settings(otlp_traces=receiver.address, api_keys=None)) as api:
        await api.release_manager.refresh()
        service = api.app.state.service
        service.observers.failed(Query("q"), ModelError("the password is hunter2"))
    [span] = receiver.spans
    assert (span.name, facts(span)["error.type"], span.status.code) == ("query", "ModelError", 2)
    assert "hunter2" not in str(receiver.requests)


async def test_without_a_receiver_questions_are_answered_all_the_same(furnished: House) -> None:
    async def nothing(query: Query, emit: Emit | None) -> None:
        """Answer as ever."""

    settings = furnished.settings(otlp_traces="http://127.0.0.1:9/v1/traces", otlp_timeout_s=0.2)
    async with opened(settings, load=interrupted(nothing)) as api:
        assert [(await api.ask()).status_code for _ in range(3)] == [200, 200, 200]


SECRET = base64.b64encode(b"pk-lf-1:sk-lf-22").decode()


@pytest.mark.parametrize(
    ("path", "given", "sent"),
    [
        (
            "/api/public/otel/v1/traces",
            f"Authorization=Basic {SECRET}",
            {"authorization": f"Basic {SECRET}"},
        ),  # Langfuse; it ends with "=="
        (
            "/api/public/otel/v1/traces",
            f"Authorization=Basic%20{SECRET}",
            {"authorization": f"Basic {SECRET}"},
        ),  # as OpenTelemetry writes it
        ("/v1/traces", "x-mlflow-experiment-id=7, x-mlflow-workspace=main", {"x-mlflow-experiment-id": "7", "x-mlflow-workspace": "main"}),
    ],
)
async def test_langfuse_and_mlflow_get_spans_at_their_paths_with_their_headers(
    furnished: House, receiver: Receiver, path: str, given: str, sent: dict[str, str]
) -> None:
    async with opened(furnished.settings(otlp_traces=f"{receiver.base}{path}", otlp_headers=given)) as api:
        await api.ask()
    assert set(receiver.paths) == {path}
    assert sent.items() <= receiver.headers[0].items()
    assert receiver.headers[0]["content-type"] == "application/x-protobuf"
    assert {facts(of.resource)["service.name"] for request in receiver.requests for of in request.resource_spans} == {"touchstone"}
    assert SECRET not in api.log_text
