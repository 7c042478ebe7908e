"""An HTTP endpoint as a subject: POST {"question": …} is answered by JSON with `answer`."""

import asyncio
import json
import ssl
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from harness.evaluation.subject import SubjectIdentity
from harness.evaluation.subjects.reading import BadAnswer, read_answer, trace_of
from serving.pipeline.clock import Clock, SystemClock
from serving.pipeline.digest import digest_of
from serving.pipeline.errors import ConfigError, InfrastructureError, RequestError
from serving.pipeline.redact import without_password
from serving.pipeline.types import Query, Trace

if TYPE_CHECKING:
    import httpx

BUSY = 429
ANSWER_LIMIT = 16 * 1024 * 1024  # bytes
PERMANENT = (401, 403, 404, 405, 410)  # the same for every question


@dataclass(frozen=True)
class EndpointSubject:
    """Asks over HTTP. Beside `answer` it reads `citations`, `contexts` and `usage`, as our own `/v1/query` gives them.

    No response, 429 and 5xx are outages; a body that is no JSON with an answer is an error of the app.
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
        """The address, since a change of the app behind it cannot be seen."""
        address = without_password(self.url)
        return SubjectIdentity({"app": {"kind": "endpoint", "url": address}}, digest_of({"url": address}), address)

    @cached_property
    def _trust(self) -> ssl.SSLContext:
        import httpx

        return httpx.create_ssl_context()  # takes a while, so once for all questions

    async def answer(self, query: Query) -> Trace:
        """The endpoint's answer."""
        import httpx  # here, as a question to the local pipeline should not wait for it

        started, start_s = self.clock.now().isoformat(timespec="milliseconds"), self.clock.seconds()
        try:
            async with (
                asyncio.timeout(self.timeout_s),
                httpx.AsyncClient(timeout=self.timeout_s, verify=self._trust) as client,
                client.stream("POST", self.url, json=_body_of(query), headers=dict(self.headers)) as response,
            ):
                status, content = response.status_code, await _body(response)
        except TimeoutError:
            raise InfrastructureError(f"{self.identity.name} took more than {self.timeout_s:g} s for its answer") from None
        except (httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
            raise ConfigError(f"{self.identity.name} is no address to ask: {error}") from None
        except httpx.HTTPError as error:
            raise InfrastructureError(f"{self.identity.name} did not answer: {type(error).__name__} {error}".rstrip()) from None
        elapsed = (self.clock.seconds() - start_s) * 1000
        app_answer = read_answer(self._json(status, content), self.identity.name)
        return trace_of(app_answer, query, self.identity.config_digest, started, elapsed)

    def _json(self, status: int, content: bytes) -> dict[str, Any]:
        body = " ".join(content[:800].decode(errors="replace")[:200].split())
        if status == BUSY or status >= 500:
            raise InfrastructureError(f"{self.identity.name} answered {status}: {body}")
        if status in PERMANENT or 300 <= status < 400:
            raise ConfigError(f"{self.identity.name} answered {status}: {body}. Is the address right, and is a token needed?")
        if status >= 400:
            raise RequestError(f"{self.identity.name} refused the question with {status}: {body}")
        try:
            data = json.loads(content)
        except (ValueError, RecursionError):
            raise BadAnswer(f"it answered {status} with no JSON: {body!r}") from None
        if not isinstance(data, dict):
            raise BadAnswer(f"it answered {status} with {type(data).__name__}, not an object with 'answer'")
        return data


def _body_of(query: Query) -> dict[str, Any]:
    """The question, with the conversation before it where it has one."""
    turns = [{"question": turn.question, "answer": turn.answer} for turn in query.history]
    return {"question": query.text, "history": turns} if turns else {"question": query.text}


async def _body(response: "httpx.Response") -> bytes:
    """The whole body; one that does not end is the app's own fault."""
    content = bytearray()
    async for piece in response.aiter_bytes():
        content += piece
        if len(content) > ANSWER_LIMIT:
            raise BadAnswer(f"its answer has more than {ANSWER_LIMIT} bytes")
    return bytes(content)
