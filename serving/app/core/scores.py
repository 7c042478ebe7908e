"""Sends feedback and the server's own scores of answers to Langfuse or MLflow, beside their spans.

Sent over HTTP by a thread of its own: a request never waits. While the receiver is out scores wait; beyond so many the newest is left
out and counted.
"""

import http.client
import json
import queue
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import Message
from typing import IO, Any, Final, Protocol

from structlog.typing import FilteringBoundLogger

from serving.app.core.span_ids import span_trace_id, spans_are_sent
from serving.app.settings import AppSettings, header_pairs
from serving.pipeline.observer import NullObserver
from serving.pipeline.types import Trace
from serving.traces.record import Feedback

PAUSE_S: Final = 0.25
RETRY_S: Final = 2.0
SPANS_COME_S: Final = 60.0  # how long a receiver may not know the spans yet: they go out in batches, and scores may be faster
MOST_READ: Final = 1024 * 1024  # bytes of a response
UNKNOWN: Final = 404
AGAIN: Final = (408, 425, 429)  # statuses that say "later", as those from 500 on do


@dataclass(frozen=True, slots=True)
class AnswerScore:
    """A score of an answer: a number or a category."""

    id: str  # the same again replaces what was sent before
    span_trace: str  # the OpenTelemetry trace of the answer
    name: str
    value: float | None
    text: str
    by: str  # HUMAN or CODE
    at: float
    until: float = 0.0  # on the clock that only goes on: how long it may wait for the spans


class ScoreApi(Protocol):
    """The API of a place that stores scores."""

    def send(self, score: AnswerScore) -> None:
        """Store a score; raises an `OSError` when that failed."""
        ...


class HttpJson:
    """JSON requests with the receiver's headers; none is led elsewhere by a redirect, since the headers hold its secret."""

    def __init__(self, base: str, headers: dict[str, str], timeout_s: float) -> None:
        self._base = base.rstrip("/")
        self._headers = headers | {"content-type": "application/json"}
        self._timeout_s = timeout_s
        self._opener = urllib.request.build_opener(_NoRedirects)

    def __call__(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """The response's object."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self._base}{path}", data, self._headers, method=method)  # noqa: S310 — settings allow http(s)
        with self._opener.open(request, timeout=self._timeout_s) as response:
            text = response.read(MOST_READ)
        try:
            value = json.loads(text or b"{}")
        except (ValueError, RecursionError):
            return {}
        return value if isinstance(value, dict) else {}


class LangfuseScores:
    """Langfuse's scores; it replaces one of the same id by itself."""

    def __init__(self, http: HttpJson, environment: str) -> None:
        self._http = http
        self._environment = environment

    def send(self, score: AnswerScore) -> None:
        """Post a score."""
        value = {"value": score.value, "dataType": "NUMERIC"} if score.value is not None else {"value": "given", "dataType": "CATEGORICAL"}
        body = {"id": score.id, "traceId": score.span_trace, "name": score.name, "environment": self._environment, **value}
        self._http("POST", "/api/public/scores", body | ({"comment": score.text} if score.text else {}))


class MlflowScores:
    """The assessments of MLflow's traces; one of the same id is looked for and changed."""

    def __init__(self, http: HttpJson) -> None:
        self._http = http

    def send(self, score: AnswerScore) -> None:
        """Create an assessment, or change the one that is there."""
        place = f"/api/3.0/mlflow/traces/tr-{score.span_trace}"
        what = {"feedback": {"value": True if score.value is None else score.value}, **({"rationale": score.text} if score.text else {})}
        if (known := self._known(place, score.id)) is not None:
            mask = ",".join(what)
            self._http("PATCH", f"{place}/assessments/{known}", {"assessment": what, "update_mask": mask})
            return
        at = datetime.fromtimestamp(score.at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        about = {
            "assessment_name": score.name,
            "source": {"source_type": score.by, "source_id": "touchstone"},
            "create_time": at,
            "last_update_time": at,
            "metadata": {"touchstone.id": score.id},
            "valid": True,
        }
        self._http("POST", f"{place}/assessments", {"assessment": about | what})

    def _known(self, place: str, ident: str) -> str | None:
        """The assessment that was made of this score before."""
        found = self._http("GET", place).get("trace", {}).get("trace_info", {}).get("assessments", [])
        return next((one["assessment_id"] for one in found if one.get("metadata", {}).get("touchstone.id") == ident), None)


class ScoreWriter(NullObserver):
    """An observer that sends the scores of answers, and feedback on them."""

    def __init__(self, settings: AppSettings, log: FilteringBoundLogger, api: ScoreApi | None = None) -> None:
        self._share = settings.otlp_share
        self._with_text = settings.otlp_content
        self._log = log
        self.place = settings.scores_address
        self._api = api or _api_of(settings)
        self._waiting: queue.Queue[AnswerScore] = queue.Queue(settings.scores_waiting)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="score-writer")
        self._failing = ""
        self.lost = 0

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    @property
    def waiting(self) -> int:
        """How many are not sent yet."""
        return self._waiting.qsize()

    def feedback(self, feedback: Feedback, trace: Trace) -> None:
        """Queue a piece of feedback; never blocks."""
        text = feedback.text if self._with_text else ""
        self._offer(trace, f"feedback-{feedback.id}", feedback.kind, feedback.value, text, "HUMAN", feedback.at)

    def answered(self, trace: Trace) -> None:
        """Queue the confidence that a check gave an answer."""
        if trace.answer.confidence is not None:
            self._offer(trace, f"confidence-{trace.id}", "confidence", trace.answer.confidence, "", "CODE", time.time())

    def close(self, timeout_s: float = 5.0) -> None:
        """Send what waits, then stop; what is left after the timeout is lost."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        if left := self._waiting.qsize():
            self.lost += left
            self._log.error("scores lost", count=left, place=self.place)

    def _offer(self, trace: Trace, ident: str, name: str, value: float | None, text: str, by: str, at: float) -> None:
        if not spans_are_sent(trace.id, trace.caller, self._share):
            return  # the receiver has no such trace
        try:
            until = time.monotonic() + SPANS_COME_S
            self._waiting.put_nowait(AnswerScore(ident, span_trace_id(trace.id, trace.caller), name, value, text, by, at, until))
        except queue.Full:
            self.lost += 1

    def _wait_for_spans(self, score: AnswerScore) -> None:
        """Put a score behind the others, since its receiver does not know the spans yet; not behind one that replaces it."""
        with self._waiting.mutex:
            replaced = any(one.id == score.id for one in self._waiting.queue)
        if not replaced:
            try:
                self._waiting.put_nowait(score)
            except queue.Full:
                self.lost += 1
        self._stop.wait(RETRY_S)

    def _run(self) -> None:
        while not (self._stop.is_set() and self._waiting.empty()):
            try:
                score = self._waiting.get(timeout=PAUSE_S)
            except queue.Empty:
                continue
            while not self._sent(score):
                if self._stop.wait(RETRY_S):
                    self.lost += 1
                    return

    def _sent(self, score: AnswerScore) -> bool:
        """Whether a score is done with: sent, or refused for good."""
        problem = ""
        try:
            self._api.send(score)
        except urllib.error.HTTPError as error:
            error.close()
            problem = f"it answers with status {error.code}"
            if error.code == UNKNOWN and time.monotonic() < score.until and not self._stop.is_set():
                self._wait_for_spans(score)
                return True
            if error.code not in AGAIN and error.code < 500:
                self.lost += 1
                self._log_failure(problem, "these are lost")
                return True
        except (OSError, http.client.HTTPException) as error:  # of a connection, a name, a time-out; a URLError is an OSError
            problem = f"{type(error).__name__}: {getattr(error, 'reason', '') or error}"
        except Exception as error:  # noqa: BLE001 — one that cannot be sent must not keep the others from it
            self.lost += 1
            self._log_failure(f"{type(error).__name__}", "these are lost")
            return True
        self._log_failure(problem, "they wait in memory")
        return not problem

    def _log_failure(self, problem: str, effect: str) -> None:
        """Log a failure once, and its end."""
        if problem and problem != self._failing:
            self._log.error("scores not sent", place=self.place, reason=problem, effect=effect)
        elif self._failing and not problem:
            self._log.info("scores sent again", place=self.place)
        self._failing = problem


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str) -> None:
        """None: the status itself is the answer."""
        return


def _api_of(settings: AppSettings) -> ScoreApi:
    headers = settings.scores_headers.get_secret_value() or settings.otlp_headers.get_secret_value()
    http = HttpJson(settings.scores_address, header_pairs(headers), settings.otlp_timeout_s)
    return MlflowScores(http) if settings.scores == "mlflow" else LangfuseScores(http, settings.channel)
