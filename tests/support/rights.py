"""A gateway to servers that speak AWS, which lets a role's calls through and refuses the others, as IAM would.

Every HTTP request is read as the actions it takes on resources (several for a copy, a batch, or what is encrypted by a key of ours), and
each has to be allowed by the role's policies. A missing object of a bucket that the role may not list is "access denied", as in S3.
"""

import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.etree import ElementTree

import boto3

from tests.infra.scripts import script
from tests.support.s3 import KEYS
from tests.support.waiting import WITHIN_S

decision = script("checks/policy_decision.py")
Request = decision.Request
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "date", "server"}
BEDROCK = {
    "converse": "bedrock:InvokeModel",
    "converse-stream": "bedrock:InvokeModelWithResponseStream",
    "invoke": "bedrock:InvokeModel",
    "invoke-with-response-stream": "bedrock:InvokeModelWithResponseStream",
}


@dataclass
class Role:
    """Who calls: the policies, what AWS knows of the session, and what was asked so far."""

    policies: Sequence[str]
    session: Mapping[str, str]
    asked: set[tuple[str, str]] = field(default_factory=set)
    refused: list[tuple[str, str]] = field(default_factory=list)

    def may(self, action: str, resource: str, context: Mapping[str, str]) -> bool:
        """Whether the policies allow it."""
        return bool(decision.allowed(self.policies, Request(action, resource, {**self.session, **context})))

    @property
    def actions(self) -> set[str]:
        """The actions that were asked for."""
        return {action for action, _ in self.asked}


@dataclass(frozen=True)
class Account:
    """Where things are, and which key encrypts them."""

    region: str
    number: str
    key: str = ""  # of every bucket and table; empty: AWS's own

    def arn(self, service: str, rest: str) -> str:
        """An ARN of the account and region."""
        return f"arn:aws:{service}:{self.region}:{self.number}:{rest}"


@dataclass(frozen=True)
class Call:
    """One HTTP request."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


Needed = tuple[str, str, Mapping[str, str]]  # action, resource, context


def needed(call: Call, account: Account) -> Iterator[Needed]:
    """What a request has to be allowed."""
    if "x-amz-target" in call.headers:
        yield from _dynamodb(call, account)
    elif call.path.startswith(("/model/", "/guardrail/", "/rerank")):
        yield from _bedrock(call, account)
    else:
        yield from _s3(call, account)


def _s3(call: Call, account: Account) -> Iterator[Needed]:
    bucket, _, key = call.path.strip("/").partition("/")
    place, inside = f"arn:aws:s3:::{bucket}", {"kms:ViaService": f"s3.{account.region}.amazonaws.com"}
    if not key and not (call.method == "POST" and "delete" in call.query):
        listing = {"s3:prefix": call.query.get("prefix", "")} if call.method == "GET" else {}
        named = {"location": "s3:GetBucketLocation", "versions": "s3:ListBucketVersions", "uploads": "s3:ListBucketMultipartUploads"}
        yield next((action for word, action in named.items() if word in call.query), "s3:ListBucket"), place, listing
        return
    if not key:
        for found in ElementTree.fromstring(call.body).iter():
            if found.tag.endswith("Key"):
                yield "s3:DeleteObject", f"{place}/{found.text}", {}
        return
    action = _of_object(call)
    yield action, f"{place}/{key}", {}
    if source := unquote(call.headers.get("x-amz-copy-source", "")).strip("/"):
        yield "s3:GetObject", f"arn:aws:s3:::{source}", {}
    if account.key and action in ("s3:GetObject", "s3:GetObjectVersion"):
        yield "kms:Decrypt", account.key, inside
    if account.key and action == "s3:PutObject":
        yield "kms:GenerateDataKey", account.key, inside
        if "uploadId" in call.query:  # parts are encrypted and read again to be joined
            yield "kms:Decrypt", account.key, inside


def _of_object(call: Call) -> str:
    if call.method in ("GET", "HEAD"):
        return (
            "s3:ListMultipartUploadParts"
            if "uploadId" in call.query
            else "s3:GetObjectVersion"
            if "versionId" in call.query
            else "s3:GetObject"
        )
    if call.method == "DELETE":
        return "s3:AbortMultipartUpload" if "uploadId" in call.query else "s3:DeleteObject"
    return "s3:PutObject"


def _dynamodb(call: Call, account: Account) -> Iterator[Needed]:
    operation = call.headers["x-amz-target"].rpartition(".")[2]
    body = json.loads(call.body)
    tables = list(body.get("RequestItems", {})) or [body["TableName"]]
    for name in tables:
        table = name if name.startswith("arn:") else account.arn("dynamodb", f"table/{name}")
        index = f"/index/{body['IndexName']}" if "IndexName" in body else ""
        yield f"dynamodb:{operation}", f"{table}{index}", {}
        if account.key:
            yield "kms:Decrypt", account.key, {"kms:ViaService": f"dynamodb.{account.region}.amazonaws.com"}


def _bedrock(call: Call, account: Account) -> Iterator[Needed]:
    _, kind, *rest = call.path.split("/")
    if kind == "guardrail":
        yield "bedrock:ApplyGuardrail", account.arn("bedrock", f"guardrail/{rest[0]}"), {}
    elif kind == "rerank":
        yield "bedrock:Rerank", "*", {}
        how = json.loads(call.body)["rerankingConfiguration"]["bedrockRerankingConfiguration"]
        yield "bedrock:InvokeModel", how["modelConfiguration"]["modelArn"], {}
    else:
        model, action = rest[0], BEDROCK[rest[-1]]
        area, _, bare = model.partition(".")
        if area in ("us", "eu", "apac", "global"):  # a profile: it, and the model in any region that it covers
            yield action, account.arn("bedrock", f"inference-profile/{model}"), {}
            model = bare
        yield action, f"arn:aws:bedrock:{account.region}::foundation-model/{model}", {}


class Gateway:
    """Servers behind a role's rights."""

    def __init__(self, role: Role, account: Account, *, aws: str, bedrock: str = "") -> None:
        self.role, self.account = role, account
        self._aws, self._bedrock = aws, bedrock
        self._lock = threading.Lock()

    def refusal(self, call: Call) -> tuple[str, str] | None:
        """What of a call is not allowed."""
        wanted = list(needed(call, self.account))
        missing = next(((action, resource) for action, resource, context in wanted if not self.role.may(action, resource, context)), None)
        with self._lock:
            self.role.asked.update((action, resource) for action, resource, _ in wanted)
            if missing:
                self.role.refused.append(missing)
        return missing

    def hides(self, call: Call) -> bool:
        """Whether what is missing may not be told from what is forbidden."""
        bucket, _, key = call.path.strip("/").partition("/")
        return bool(key) and not self.role.may("s3:ListBucket", f"arn:aws:s3:::{bucket}", {})

    def behind(self, call: Call) -> str:
        """Who answers a call."""
        return self._bedrock if call.path.startswith(("/model/", "/guardrail/", "/rerank")) else self._aws


def _handler(gateway: Gateway) -> Callable[..., BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one_request(self) -> None:
            self.raw_requestline = self.rfile.readline(65537)
            if not self.raw_requestline or not self.parse_request():
                self.close_connection = True
                return
            call = self._call()
            if missing := gateway.refusal(call):
                self._refuse(call, f"not authorized to perform: {missing[0]} on resource: {missing[1]}")
                return
            status, headers, body = self._answered(call)
            if status == 404 and "x-amz-target" not in call.headers and call.method in ("GET", "HEAD") and gateway.hides(call):
                self._refuse(call, "Access Denied")
                return
            self._send(status, headers, body, call)

        def _call(self) -> Call:
            parts = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
            headers = {name.lower(): value for name, value in self.headers.items()}
            return Call(self.command, unquote(parts.path), query, headers, self._body())

        def _body(self) -> bytes:
            if "chunked" not in self.headers.get("Transfer-Encoding", "").lower():
                return self.rfile.read(int(self.headers.get("Content-Length", 0)))
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass
            return b"".join(parts)

        def _answered(self, call: Call) -> tuple[int, Iterable[tuple[str, str]], bytes]:
            behind = urlsplit(gateway.behind(call))
            connection = HTTPConnection(behind.hostname or "", behind.port, timeout=WITHIN_S)
            kept = {
                name: value
                for name, value in self.headers.items()
                if name.lower() not in ("connection", "transfer-encoding", "content-length")
            }
            try:
                connection.request(call.method, self.path, call.body, kept | {"Content-Length": str(len(call.body))})
                answer = connection.getresponse()
                said = answer.read()
                headers = [one for one in answer.getheaders() if one[0].lower() not in HOP_BY_HOP]
                if not answer.getheader("Content-Length"):
                    headers.append(("Content-Length", str(len(said))))
                return answer.status, headers, said
            finally:
                connection.close()

        def _refuse(self, call: Call, why: str) -> None:
            if call.path.startswith(("/model/", "/guardrail/", "/rerank")) or "x-amz-target" in call.headers:
                kind = "com.amazon.coral.service#AccessDeniedException"
                said: Any = json.dumps({"__type": kind, "message": why, "Message": why}).encode()
                named = [("Content-Type", "application/x-amz-json-1.0"), ("x-amzn-errortype", "AccessDeniedException")]
                self._send(400 if "x-amz-target" in call.headers else 403, [*named, ("Content-Length", str(len(said)))], said, call)
                return
            said = f"<?xml version='1.0'?><Error><Code>AccessDenied</Code><Message>{why}</Message></Error>".encode()
            self._send(403, [("Content-Type", "application/xml"), ("Content-Length", str(len(said)))], said, call)

        def _send(self, status: int, headers: Iterable[tuple[str, str]], body: bytes, call: Call) -> None:
            self.send_response_only(status)
            for name, value in headers:
                self.send_header(name, value)
            self.end_headers()
            if call.method != "HEAD":
                self.wfile.write(body)
            self.wfile.flush()

        def log_message(self, format: str, *arguments: object) -> None:  # the base's name
            """Say nothing."""

    return Handler


def aws(service: str, address: str, region: str) -> Any:
    """A client of a service behind an address."""
    session = boto3.Session(KEYS["AWS_ACCESS_KEY_ID"], KEYS["AWS_SECRET_ACCESS_KEY"], region_name=region)
    return session.client(service, endpoint_url=address)  # type: ignore[call-overload]  # a service by its name


@contextmanager
def gateway(role: Role, account: Account, *, aws: str, bedrock: str = "") -> Iterator[str]:
    """A gateway's address, while it stands."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(Gateway(role, account, aws=aws, bedrock=bedrock)))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
