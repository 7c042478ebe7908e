"""Feedback and confidence as scores, as a receiver gets them over HTTP."""

import asyncio
import io
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.client import BadStatusLine
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from pydantic import ValidationError

from serving.app.core.scores import AnswerScore, ScoreWriter
from serving.app.core.span_ids import span_trace_id, spans_are_sent
from serving.app.core.telemetry import make_logger
from serving.app.settings import AppSettings
from serving.traces.record import Feedback
from tests.app.making import House, opened
from tests.support.waiting import WITHIN_S, eventually, until
from tests.traces.test_stores import a_trace

CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
SECRET = "Basic cGs6c2VjcmV0"


@dataclass(frozen=True)
class Got:
    """A request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any


@dataclass
class Receiver:
    """A receiver of spans and scores, which keeps assessments as MLflow does."""

    got: list[Got] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)  # statuses to answer with first
    assessments: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def handle_any(self) -> None:
                data = self.rfile.read(int(self.headers.get("content-length", 0)))
                if self.path.endswith("/v1/traces"):
                    self.answer(200, {})
                    return
                body = json.loads(data) if data else None
                receiver.got.append(Got(self.command, self.path, {name.lower(): value for name, value in self.headers.items()}, body))
                status = receiver.answers.pop(0) if receiver.answers else 200
                if status == 200 and self.command == "POST" and self.path.endswith("/assessments"):
                    receiver.assessments.append(body["assessment"] | {"assessment_id": f"a{len(receiver.assessments)}"})
                self.answer(status, {"trace": {"trace_info": {"assessments": receiver.assessments}}})

            def answer(self, status: int, body: dict[str, Any]) -> None:
                text = json.dumps(body).encode()
                self.send_response(status)
                if status == 302:
                    self.send_header("location", f"{receiver.address}/elsewhere")
                self.send_header("content-length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_POST = do_PATCH = handle_any

            def log_message(self, *given: Any) -> None:
                """Nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        self.address = f"http://127.0.0.1:{self.server.server_port}"

    def settings(self, kind: str, **more: Any) -> dict[str, Any]:
        return {"scores": kind, "otlp_traces": f"{self.address}/v1/traces", "otlp_headers": f"authorization={SECRET}", **more}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.server.shutdown()
    made.server.server_close()


def writer(receiver: Receiver, kind: str = "langfuse", stream: io.StringIO | None = None, **more: Any) -> ScoreWriter:
    settings = AppSettings(_env_file=None, **{"otlp_timeout_s": WITHIN_S} | receiver.settings(kind, **more))
    return ScoreWriter(settings, make_logger(settings, stream or io.StringIO()))


def thumbs(value: float = 1.0, text: str = "") -> Feedback:
    return Feedback("f1", "t1", 1_700_000_000.0, "public", "ann", "thumbs", value, text)


async def test_feedback_reaches_langfuse_as_a_score_of_the_spans_with_the_receivers_secret(furnished: House, receiver: Receiver) -> None:
    async with opened(furnished.settings(**receiver.settings("langfuse"))) as api:
        answer = (await api.ask()).json()
        said = {"trace_id": answer["trace_id"], "kind": "thumbs", "value": -1}
        assert (await api.client.post("/v1/feedback", json=said)).status_code == 200
        kept = (await api.client.post("/v1/feedback", json=said | {"value": 1})).json()
        await eventually(lambda: len(receiver.got) == 2)
        log = api.log_text
    first, second = receiver.got
    assert (first.method, first.path) == ("POST", "/api/public/scores")
    assert first.headers["authorization"] == SECRET
    assert first.body == {
        "id": f"feedback-{kept['id']}",
        "traceId": span_trace_id(answer["trace_id"], ""),
        "name": "thumbs",
        "value": -1.0,
        "dataType": "NUMERIC",
        "environment": "dev",
    }
    assert (second.body["id"], second.body["value"]) == (first.body["id"], 1.0)
    assert SECRET not in log


async def test_a_question_with_a_callers_trace_is_scored_in_that_one_and_unsampled_ones_not_at_all(
    furnished: House, receiver: Receiver
) -> None:
    async with opened(furnished.settings(**receiver.settings("langfuse"))) as api:
        for traceparent in (CALLER, f"{CALLER[:-2]}00", "nonsense"):
            asked = await api.client.post("/v1/query", json={"question": "Leave?"}, headers={"traceparent": traceparent})
            said = {"trace_id": asked.json()["trace_id"], "kind": "rating", "value": 4}
            assert (await api.client.post("/v1/feedback", json=said)).status_code == 200
        await eventually(lambda: len(receiver.got) == 2)
    own = span_trace_id(asked.json()["trace_id"], "")
    assert [one.body["traceId"] for one in receiver.got] == [CALLER.split("-")[1], own]


async def test_feedback_becomes_an_assessment_in_mlflow_and_changes_the_one_that_is_there(furnished: House, receiver: Receiver) -> None:
    async with opened(furnished.settings(**receiver.settings("mlflow", otlp_content=True))) as api:
        answer = (await api.ask()).json()
        for text in ("27 days", "30 days"):
            said = {"trace_id": answer["trace_id"], "kind": "correction", "text": text}
            assert (await api.client.post("/v1/feedback", json=said)).status_code == 200
        await eventually(lambda: len(receiver.got) == 4)
    place = f"/api/3.0/mlflow/traces/tr-{span_trace_id(answer['trace_id'], '')}"
    assert [(one.method, one.path) for one in receiver.got] == [
        ("GET", place), ("POST", f"{place}/assessments"), ("GET", place), ("PATCH", f"{place}/assessments/a0"),
    ]  # fmt: skip
    made, changed = receiver.got[1].body["assessment"], receiver.got[3].body
    assert made["assessment_name"] == "correction"
    assert made["source"]["source_type"] == "HUMAN"
    assert (made["feedback"], made["rationale"]) == ({"value": True}, "27 days")
    assert changed == {"assessment": {"feedback": {"value": True}, "rationale": "30 days"}, "update_mask": "feedback,rationale"}
    assert all(one.headers["authorization"] == SECRET for one in receiver.got)


def test_what_people_wrote_is_sent_only_where_content_is(receiver: Receiver) -> None:
    made = writer(receiver)
    made.start()
    made.feedback(Feedback("f", "t1", 0.0, "public", "ann", "correction", None, "call 0171 555 55"), a_trace("t1"))
    made.close(WITHIN_S)
    [got] = receiver.got
    assert "comment" not in got.body
    assert (got.body["value"], got.body["dataType"]) == ("given", "CATEGORICAL")


def test_the_confidence_of_an_answer_is_a_score_by_the_code(receiver: Receiver) -> None:
    made = writer(receiver, "mlflow")
    made.start()
    trace = a_trace("t1")
    made.answered(trace)  # no check told one
    made.answered(replace(trace, answer=replace(trace.answer, confidence=0.75)))
    made.close(WITHIN_S)
    assessment = receiver.got[-1].body["assessment"]
    assert (assessment["assessment_name"], assessment["feedback"], assessment["source"]["source_type"]) == (
        "confidence",
        {"value": 0.75},
        "CODE",
    )


def test_while_a_receiver_is_out_scores_wait_and_what_is_too_much_is_counted(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.app.core.scores.RETRY_S", 0.01)
    stream = io.StringIO()
    made = writer(receiver, stream=stream, scores_waiting=2)
    for _ in range(3):
        made.feedback(thumbs(), a_trace("t1"))
    assert (made.waiting, made.lost) == (2, 1)
    receiver.answers += [503, 429]
    made.start()
    until(lambda: not made.waiting and len(receiver.got) == 4)
    made.close(WITHIN_S)
    assert (len(receiver.got), made.lost) == (4, 1)
    assert "scores sent again" in stream.getvalue()
    assert SECRET not in stream.getvalue()


def test_a_score_that_comes_before_its_spans_waits_for_them_behind_the_others(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.app.core.scores.RETRY_S", 0.01)
    made = writer(receiver, "mlflow")
    receiver.answers += [404]
    receiver.answers += [404]
    for ident, value in (("early", 1.0), ("changed", -1.0), ("known", 1.0), ("changed", 1.0)):
        made.feedback(replace(thumbs(value), id=ident), a_trace(ident))
    made.start()
    until(lambda: len(receiver.assessments) == 3)
    made.close(WITHIN_S)
    kept = [(one["metadata"]["touchstone.id"], one["feedback"]["value"]) for one in receiver.assessments]
    assert kept == [("feedback-known", 1.0), ("feedback-changed", 1.0), ("feedback-early", 1.0)]  # what was said first does not come last
    assert made.lost == 0


def test_a_score_that_is_refused_is_lost_and_keeps_no_other_from_being_sent(receiver: Receiver) -> None:
    stream = io.StringIO()
    made = writer(receiver, stream=stream)
    receiver.answers += [400, 302]
    for _ in range(3):
        made.feedback(thumbs(), a_trace("t1"))
    made.start()
    made.close(WITHIN_S)
    assert [one.path for one in receiver.got] == ["/api/public/scores"] * 3  # the redirect, and with it the secret, led nowhere
    assert made.lost == 2
    assert "it answers with status 400" in stream.getvalue()


def test_a_receiver_that_is_not_there_delays_neither_answers_nor_the_end(receiver: Receiver) -> None:
    receiver.server.shutdown()
    receiver.server.server_close()
    stream = io.StringIO()
    made = writer(receiver, stream=stream)
    made.start()
    made.feedback(thumbs(), a_trace("t1"))
    made.close(WITHIN_S)
    assert made.lost == 1
    assert "scores not sent" in stream.getvalue()


def test_scores_need_spans_and_a_place() -> None:
    with pytest.raises(ValidationError, match="TOUCHSTONE_SCORES needs TOUCHSTONE_OTLP_TRACES"):
        AppSettings(_env_file=None, scores="langfuse")
    with pytest.raises(ValidationError, match="needs TOUCHSTONE_SCORES_URL"):
        AppSettings(_env_file=None, scores="langfuse", otlp_traces="http://collector:4318/spans")
    with pytest.raises(ValidationError, match="needs TOUCHSTONE_SCORES_URL"):
        AppSettings(_env_file=None, scores="langfuse", otlp_traces="http://c/v1/traces", scores_url="file:///etc")
    langfuse = AppSettings(_env_file=None, scores="langfuse", otlp_traces="https://lf.example/api/public/otel/v1/traces")
    assert langfuse.scores_address == "https://lf.example"


def test_what_is_sampled_is_what_opentelemetry_samples() -> None:
    from opentelemetry.sdk.trace.sampling import TraceIdRatioBased

    sampler = TraceIdRatioBased(0.3)
    for number in range(200):
        ident = span_trace_id(f"t{number}", "")
        expected = sampler.should_sample(None, int(ident, 16), "query").decision.is_sampled()
        assert spans_are_sent(f"t{number}", "", 0.3) == expected


async def test_spans_have_the_trace_that_scores_name(furnished: House) -> None:
    from tests.app.core.test_spans import Receiver as SpanReceiver

    spans = SpanReceiver()
    try:
        async with opened(furnished.settings(otlp_traces=spans.address)) as api:
            ids = [(await api.ask(f"Leave {number}?")).json()["trace_id"] for number in range(2)]
        await asyncio.sleep(0)
        assert {span.trace_id.hex() for span in spans.spans} == {span_trace_id(one, "") for one in ids}
    finally:
        spans.server.shutdown()
        spans.server.server_close()


def test_a_receiver_that_breaks_off_gets_the_score_again(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.app.core.scores.RETRY_S", 0.01)
    sent: list[str] = []

    class BreakingOff:
        """The interface of a receiver whose first answer is no HTTP."""

        def send(self, score: AnswerScore) -> None:
            sent.append(score.id)
            if len(sent) == 1:
                raise BadStatusLine("")

    settings = AppSettings(_env_file=None, **receiver.settings("langfuse"))
    made = ScoreWriter(settings, make_logger(settings, io.StringIO()), BreakingOff())
    made.start()
    made.feedback(thumbs(), a_trace("t1"))
    while made.waiting or (len(sent) < 2 and not made.lost):
        threading.Event().wait(0.01)
    made.close()
    assert (sent, made.lost) == (["feedback-f1"] * 2, 0)
