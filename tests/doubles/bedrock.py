"""Amazon Bedrock over HTTP, as far as this project speaks to it: real boto3 and langchain-aws cannot tell the difference.

    with BedrockDouble([Throttle(), "Paris."]) as double:
        client = boto3.client("bedrock-runtime", endpoint_url=double.url, region_name="us-east-1")

    python -m tests.doubles.bedrock 8080 0.3    # a port (0: any), and how many seconds each answer takes

Answers come from a function of the call or from a list played in order; after the list each call gets its default.
Nothing here waits by the clock unless `latency_s` is set: `Hang` holds a call until the double is closed.
"""

import hashlib
import json
import math
import re
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType, TracebackType
from typing import Any, Self
from urllib.parse import unquote

from tests.doubles.eventstream import frame
from tests.support.ports import free_port

MAIL = r"[\w.]+@[\w.]+\w"
CREDENTIALS = {  # for a test's environment: fixed ones, and no question to a machine that would know better
    "AWS_ACCESS_KEY_ID": "double",
    "AWS_SECRET_ACCESS_KEY": "double",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": "/nonexistent",
    "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
}


@dataclass(frozen=True)
class Call:
    """One request as it came."""

    operation: str  # converse | converse-stream | invoke | rerank | guardrail
    model: str
    body: dict[str, Any]

    @property
    def text(self) -> str:
        """All text of a conversation, of a text to embed, or of a text to guard."""
        blocks = [block for message in self.body.get("messages", []) for block in message["content"]]
        return "".join(block.get("text", "") for block in blocks) or str(self.body.get("inputText", ""))


@dataclass(frozen=True)
class Reply:
    """A chat answer in full; a bare string stands for one with these defaults."""

    text: str
    stop_reason: str = "end_turn"
    input_tokens: int = 11
    output_tokens: int = 7


@dataclass(frozen=True)
class Refusal:
    """An error answer: its code, its HTTP status, its message."""

    code: str
    status: int = 400
    message: str = "refused by the double"


def Throttle() -> Refusal:  # reads as the other faults do
    """Too many requests."""
    return Refusal("ThrottlingException", 429, "Too many requests, please wait before trying again.")


def ServerError() -> Refusal:
    """The service's own failure."""
    return Refusal("InternalServerException", 500, "The system encountered an unexpected error.")


@dataclass(frozen=True)
class Malformed:
    """A 200 whose body is not what the service promises."""

    body: bytes = b"<html>not what you asked for</html>"


@dataclass(frozen=True)
class Drop:
    """The connection is cut: at once, or in a stream after so many events (the first is messageStart)."""

    after_events: int = 0


@dataclass(frozen=True)
class ErrorFrame:
    """A stream that turns into an exception after so many events."""

    after_events: int = 0
    code: str = "throttlingException"
    message: str = "slow down"


@dataclass(frozen=True)
class Hang:
    """No answer until the double is closed; in a stream, silence after so many events."""

    after_events: int = 0


Answer = str | dict[str, Any] | Reply | Refusal | Malformed | Drop | ErrorFrame | Hang | None  # None: the default; dict: a JSON body
Script = Callable[[Call], Answer]


@dataclass
class Log:
    """What was asked of the double."""

    calls: list[Call] = field(default_factory=list)
    running: int = 0
    most_running: int = 0  # calls in progress at the same time, at most
    lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self, call: Call) -> None:
        with self.lock:
            self.calls.append(call)
            self.running += 1
            self.most_running = max(self.most_running, self.running)

    def end(self) -> None:
        with self.lock:
            self.running -= 1


class BedrockDouble:
    """Serves on a free port of this machine from `with` to its end."""

    def __init__(self, answers: Script | Iterable[Answer] = (), *, latency_s: float = 0.0, port: int | None = None) -> None:
        queue = deque(() if callable(answers) else answers)
        self.script: Script = answers if callable(answers) else lambda _: queue.popleft() if queue else None
        self.latency_s = latency_s
        self.log = Log()
        self.closing = threading.Event()
        self._server = _Server(("127.0.0.1", port or free_port()), _Handler)
        self._server.double = self
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def calls(self) -> list[Call]:
        """Every call so far, in the order they came."""
        return self.log.calls

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Stop serving; whoever waits is cut off, and later calls are refused."""
        self.closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._server.cut_all()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    double: BedrockDouble

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._open: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def cut_all(self) -> None:
        for connection in list(self._open):
            _cut(connection)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that left is no news; anything else is a fault of the double and is told."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 64 * 1024  # one write for headers and body: two small ones would wait for each other's acknowledgement
    disable_nagle_algorithm = True
    server: _Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
        call = _parse(unquote(self.path), body)
        if call is None:
            self._refuse(Refusal("ResourceNotFoundException", 404, f"no route {self.path}"))
            return
        double = self.server.double
        double.log.begin(call)
        try:
            if double.latency_s:
                time.sleep(double.latency_s)
            answer = double.script(call)
        finally:
            double.log.end()  # before a byte is sent: the caller may ask again the moment it has its answer
        self._answer(call, answer)

    def _answer(self, call: Call, answer: Answer) -> None:
        streamed = call.operation == "converse-stream"
        match answer:
            case Refusal():
                self._refuse(answer)
            case Malformed(body):
                self._send(200, body)
            case dict():
                self._send(200, json.dumps(answer).encode())
            case Drop() | Hang() if not streamed:
                if isinstance(answer, Hang):
                    self.server.double.closing.wait()
                self._hang_up()
            case Drop() | Hang() | ErrorFrame() if streamed:
                self._broken_stream(call, answer)
            case str() | Reply() | None:
                self._good(call, Reply(answer) if isinstance(answer, str) else answer)
            case _:
                raise TypeError(f"{answer!r} is no answer to {call.operation}")

    def _good(self, call: Call, reply: Reply | None) -> None:
        if call.operation == "converse-stream":
            self._stream(_events(reply or _default(call)))
            return
        makers = {"converse": lambda: _converse(reply or _default(call)), "invoke": lambda: _invoke(call.body)}
        makers |= {"rerank": lambda: _rerank(call.body), "guardrail": lambda: _guardrail(call.body)}
        body = makers[call.operation]()
        tokens = {"x-amzn-bedrock-input-token-count": str(body["inputTextTokenCount"])} if call.operation == "invoke" else {}
        self._send(200, json.dumps(body).encode(), headers=tokens)

    def _broken_stream(self, call: Call, fault: Drop | Hang | ErrorFrame) -> None:
        begun = _events(_default(call))[: fault.after_events]
        if isinstance(fault, ErrorFrame):
            self._stream([*begun, frame(fault.code, {"message": fault.message}, kind="exception")])
            return
        self._stream(begun, end=False)
        self.wfile.flush()
        if isinstance(fault, Hang):
            self.server.double.closing.wait()
        self._hang_up()

    def _stream(self, frames: list[bytes], *, end: bool = True) -> None:
        """Frames as the service sends them: in chunks, their number unknown beforehand."""
        self._head(200, None, "application/vnd.amazon.eventstream")
        for piece in [*frames, b""] if end else frames:
            self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")

    def _refuse(self, refusal: Refusal) -> None:
        self._send(refusal.status, json.dumps({"message": refusal.message}).encode(), error=refusal.code)

    def _send(self, status: int, body: bytes, error: str = "", headers: Mapping[str, str] = MappingProxyType({})) -> None:
        self._head(status, len(body), "application/json", error, headers)
        self.wfile.write(body)

    def _head(
        self, status: int, length: int | None, content_type: str, error: str = "", headers: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header(*(("Transfer-Encoding", "chunked") if length is None else ("Content-Length", str(length))))
        self.send_header("x-amzn-RequestId", "double")
        for name, value in headers.items():
            self.send_header(name, value)
        if error:
            self.send_header("x-amzn-ErrorType", error)
        self.end_headers()

    def _hang_up(self) -> None:
        self.close_connection = True
        _cut(self.connection)

    def log_message(self, *_: Any) -> None:
        """Says nothing; `BedrockDouble.calls` is the log."""


def _cut(connection: socket.socket) -> None:
    with suppress(OSError):  # the other side was faster
        connection.shutdown(socket.SHUT_RDWR)


def _parse(path: str, body: dict[str, Any]) -> Call | None:
    if match := re.fullmatch(r"/model/(.+)/(converse|converse-stream|invoke)", path):
        return Call(match[2], match[1], body)
    if path == "/rerank":
        chosen = body["rerankingConfiguration"]["bedrockRerankingConfiguration"]["modelConfiguration"]["modelArn"]
        return Call("rerank", str(chosen).rpartition("/")[2], body)
    if match := re.fullmatch(r"/guardrail/(.+)/version/.+/apply", path):
        return Call("guardrail", match[1], body)
    return None


def _default(call: Call) -> Reply:
    return Reply(f"The double heard: {call.text[-40:]}")


def _usage(reply: Reply) -> dict[str, int]:
    total = reply.input_tokens + reply.output_tokens
    return {"inputTokens": reply.input_tokens, "outputTokens": reply.output_tokens, "totalTokens": total}


def _converse(reply: Reply) -> dict[str, Any]:
    message = {"role": "assistant", "content": [{"text": reply.text}]}
    return {"output": {"message": message}, "stopReason": reply.stop_reason, "usage": _usage(reply), "metrics": {"latencyMs": 5}}


def _events(reply: Reply) -> list[bytes]:
    """The frames of a streamed answer, a word each."""
    words = re.findall(r"\S+\s*|\s+", reply.text)
    return [
        frame("messageStart", {"role": "assistant"}),
        *(frame("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": word}}) for word in words),
        frame("contentBlockStop", {"contentBlockIndex": 0}),
        frame("messageStop", {"stopReason": reply.stop_reason}),
        frame("metadata", {"usage": _usage(reply), "metrics": {"latencyMs": 5}}),
    ]


def _invoke(body: dict[str, Any]) -> dict[str, Any]:
    """Titan: a vector made of the text alone; a reranker: scores by shared words."""
    if "documents" in body:
        return {"results": [{"index": i, "relevance_score": score} for i, score in _ranked(body["query"], body["documents"])]}
    vector = [byte / 255 - 0.5 for byte in hashlib.shake_256(body["inputText"].encode()).digest(int(body.get("dimensions", 1024)))]
    length = math.sqrt(sum(x * x for x in vector)) if body.get("normalize", True) else 1.0
    return {"embedding": [x / length for x in vector], "inputTextTokenCount": len(body["inputText"].split())}


def _rerank(body: dict[str, Any]) -> dict[str, Any]:
    query = body["queries"][0]["textQuery"]["text"]
    texts = [source["inlineDocumentSource"]["textDocument"]["text"] for source in body["sources"]]
    most = body["rerankingConfiguration"]["bedrockRerankingConfiguration"].get("numberOfResults", len(texts))
    return {"results": [{"index": i, "relevanceScore": score} for i, score in _ranked(query, texts)[:most]]}


def _ranked(query: str, texts: list[str]) -> list[tuple[int, float]]:
    """Places of the texts, best first, by the share of the query's words they hold."""
    wanted = set(re.findall(r"\w+", query.lower()))
    shares = [len(wanted & set(re.findall(r"\w+", text.lower()))) / max(1, len(wanted)) for text in texts]
    return sorted(enumerate(shares), key=lambda pair: (-pair[1], pair[0]))


def _guardrail(body: dict[str, Any]) -> dict[str, Any]:
    """A policy: social security numbers and the topic of lawsuits are blocked, e-mail addresses masked, ungrounded answers blocked."""
    items = [item["text"] for item in body["content"]]
    text = "".join(item["text"] for item in items if not {"grounding_source", "query"} & set(item.get("qualifiers", [])))
    source = "".join(item["text"] for item in items if "grounding_source" in item.get("qualifiers", []))
    mails = [{"match": mail, "type": "EMAIL", "action": "ANONYMIZED"} for mail in re.findall(MAIL, text)]
    numbers = re.findall(r"\d{3}-\d{2}-\d{4}|ssn", text, re.IGNORECASE)
    blocked = [{"match": number, "type": "US_SOCIAL_SECURITY_NUMBER", "action": "BLOCKED"} for number in numbers]
    topics = [{"name": "Legal Advice", "type": "DENY", "action": "BLOCKED"}] if "sue" in text.lower().split() else []
    said = set(re.findall(r"\w{4,}", text.lower()))
    score = len(said & set(re.findall(r"\w{4,}", source.lower()))) / max(1, len(said))
    grounding = [{"type": "GROUNDING", "threshold": 0.5, "score": score, "action": "BLOCKED"}] if source and score < 0.5 else []
    stops = bool(blocked or topics or grounding)
    assessment: dict[str, Any] = {}
    if mails or blocked:
        assessment["sensitiveInformationPolicy"] = {"piiEntities": [*mails, *blocked], "regexes": []}
    if topics:
        assessment["topicPolicy"] = {"topics": topics}
    if grounding:
        assessment["contextualGroundingPolicy"] = {"filters": grounding}
    usage = dict.fromkeys(("topicPolicyUnits", "contentPolicyUnits", "sensitiveInformationPolicyUnits"), math.ceil(len(text) / 1000))
    usage |= {
        "wordPolicyUnits": 0,
        "sensitiveInformationPolicyFreeUnits": 0,
        "contextualGroundingPolicyUnits": math.ceil(len(source) / 1000),
    }
    return {
        "usage": usage,
        "action": "GUARDRAIL_INTERVENED" if stops or mails else "NONE",
        "outputs": [{"text": "Blocked by the guardrail." if stops else re.sub(MAIL, "{EMAIL}", text)}] if stops or mails else [],
        "assessments": [assessment] if assessment else [],
    }


if __name__ == "__main__":
    given = dict(zip(("port", "latency_s"), sys.argv[1:], strict=False))
    with BedrockDouble(port=int(given.get("port", 0)), latency_s=float(given.get("latency_s", 0))) as served:
        sys.stdout.write(f"TOUCHSTONE_BEDROCK_ENDPOINT={served.url}\n")
        sys.stdout.flush()
        with suppress(KeyboardInterrupt):
            threading.Event().wait()
