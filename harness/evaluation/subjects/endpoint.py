"""An HTTP endpoint as a subject: POST {"question": …} is answered by JSON with `answer`."""

import asyncio
import json
import ssl
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import httpx

from harness.evaluation.subject import SubjectIdentity
from harness.evaluation.subjects.reading import BadAnswer, read_answer, trace_of
from harness.settings import without_password
from serving.pipeline.clock import Clock, SystemClock
from serving.pipeline.digest import digest_of
from serving.pipeline.errors import ConfigError, InfrastructureError, RequestError
from serving.pipeline.types import Query, Trace

BUSY = 429
MOST_BYTES = 16 * 1024 * 1024  # of an answer
LOST = (401, 403, 404, 405, 410)  # the same for every question


@dataclass(frozen=True)
class EndpointSubject:
    """Asks over HTTP. Beside `answer` it reads `citations`, `contexts` and `usage`, as our own `/v1/query` gives them.

    Silence, 429 and 5xx are outages; what is no JSON with an answer is the app's own fault.
    """

    url: str
    headers: tuple[tuple[str, str], ...] = ()
    timeout_s: float = 60.0  # for the whole answer
    clock: Clock = field(default_factory=SystemClock)
    serial: bool = False

    def __repr__(self) -> str:
        return f"EndpointSubject({self.identity.name!r})"  # neither a password nor a header

    @cached_property
    def identity(self) -> SubjectIdentity:
        """The address: what answers behind it may change without a sign."""
        shown = without_password(self.url)
        return SubjectIdentity({"app": {"kind": "endpoint", "url": shown}}, digest_of({"url": shown}), shown)

    @cached_property
    def _trust(self) -> ssl.SSLContext:
        return httpx.create_ssl_context()  # takes a while, so once for all questions

    async def answer(self, query: Query) -> Trace:
        """The endpoint's answer."""
        started, begin = self.clock.now().isoformat(timespec="milliseconds"), self.clock.seconds()
        try:
            async with (
                asyncio.timeout(self.timeout_s),
                httpx.AsyncClient(timeout=self.timeout_s, verify=self._trust) as client,
                client.stream("POST", self.url, json={"question": query.text}, headers=dict(self.headers)) as response,
            ):
                status, body = response.status_code, await _body(response)
        except TimeoutError:
            raise InfrastructureError(f"{self.identity.name} took more than {self.timeout_s:g} s for its answer") from None
        except (httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
            raise ConfigError(f"{self.identity.name} is no address to ask: {error}") from None
        except httpx.HTTPError as error:
            raise InfrastructureError(f"{self.identity.name} did not answer: {type(error).__name__} {error}".rstrip()) from None
        elapsed = (self.clock.seconds() - begin) * 1000
        said = read_answer(self._json(status, body), self.identity.name)
        return trace_of(said, query, self.identity.config_digest, started, elapsed)

    def _json(self, status: int, body: bytes) -> dict[str, Any]:
        told = " ".join(body[:800].decode(errors="replace")[:200].split())
        if status == BUSY or status >= 500:
            raise InfrastructureError(f"{self.identity.name} answered {status}: {told}")
        if status in LOST or 300 <= status < 400:
            raise ConfigError(f"{self.identity.name} answered {status}: {told}. Is the address right, and is a token needed?")
        if status >= 400:
            raise RequestError(f"{self.identity.name} refused the question with {status}: {told}")
        try:
            found = json.loads(body)
        except (ValueError, RecursionError):
            raise BadAnswer(f"it answered {status} with no JSON: {told!r}") from None
        if not isinstance(found, dict):
            raise BadAnswer(f"it answered {status} with {type(found).__name__}, not an object with 'answer'")
        return found


async def _body(response: httpx.Response) -> bytes:
    """The whole body; one that does not end is the app's own fault."""
    body = bytearray()
    async for piece in response.aiter_bytes():
        body += piece
        if len(body) > MOST_BYTES:
            raise BadAnswer(f"its answer has more than {MOST_BYTES} bytes")
    return bytes(body)
