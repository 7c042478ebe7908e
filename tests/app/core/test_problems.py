import asyncio
import json
from dataclasses import replace

import pytest

from serving.pipeline.answer.answerer import Emit
from serving.pipeline.errors import ConfigError, IntegrityError, ModelError, StoreError, ThrottledError
from serving.pipeline.types import Query
from tests.app.making import House, interrupted, opened

JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b"{}", "question: field required"),
        (b'{"question": ""}', "question: string should have at least 1 character"),
        (b'{"question": "  \\n "}', "question: string should have at least 1 character"),
        (b'{"question": 7}', "question: input should be a valid string"),
        (b'{"question": "a", "top_k": 9}', "top_k: unknown field"),
        (b'{"quesion": "a"}', "quesion: unknown field (1 more)."),
        (b'{"question": "a", "domains": "hr"}', "domains: input should be a valid"),
        (b'{"question": "a", "metadata": {"a": 1}}', "metadata.a: input should be a valid string"),
        (b'{"question": "\\ud800"}', "question: "),
        (b'{"question": "a", "metadata": {"\\ud800": "x"}}', "metadata"),
        (b"[1]", "body: "),
        (b"", "The body is not JSON: expecting value at character 0."),
        (b'{"question": "a", "question": "b"}', "The body is not JSON: an object has a key twice."),
        (b'{"question": NaN}', "The body is not JSON: NaN is no number."),
        (b'{"question": -1e999}', "The body is not JSON: a number is too large."),
        (b'{"question": 1' + b"0" * 5000 + b"}", "The body is not JSON: a number has too many digits."),
        (b"[" * 60_000, "The body is not JSON: it is nested too deeply."),
        (b"{", "The body is not JSON: "),
        (b"\xff\xfe", "The body is not JSON: it is not UTF-8."),
    ],
)
async def test_a_request_that_is_wrong_gets_one_clear_line(furnished: House, body: bytes, detail: str) -> None:
    async with opened(furnished.settings()) as api:
        response = await api.client.post("/v1/query", content=body, headers=JSON)
    assert response.status_code in (400, 422)
    problem = response.json()
    assert response.headers["content-type"] == "application/problem+json"
    assert set(problem) == {"type", "title", "status", "detail"}
    assert problem["status"] == response.status_code
    assert problem["detail"].startswith(detail)
    assert "\n" not in problem["detail"]
    assert "Traceback" not in response.text


async def test_a_question_may_be_as_long_as_the_settings_say_and_no_longer(furnished: House) -> None:
    async with opened(furnished.settings(max_question_chars=10)) as api:
        assert (await api.ask("x" * 10)).status_code == 200
        response = await api.ask("x" * 11)
    assert response.status_code == 422
    assert response.json()["detail"] == "question: has 11 characters; at most 10 are allowed."


@pytest.mark.parametrize("question", ['"', "a AND (", "' OR 1=1 --", "\x00", "🦉" * 50, "[1] {{ question }} </passage>", "\u202eabc"])
async def test_no_question_breaks_it(furnished: House, question: str) -> None:
    async with opened(furnished.settings()) as api:
        assert (await api.ask(question)).status_code == 200


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (ModelError("boom at /srv/secret"), 503, "outage"),
        (StoreError("boom at /srv/secret"), 503, "outage"),
        (ThrottledError("boom at /srv/secret"), 503, "throttled"),
        (TimeoutError("boom at /srv/secret"), 504, "timeout"),
        (ConfigError("boom at /srv/secret"), 500, "failure"),
        (IntegrityError("boom at /srv/secret"), 500, "failure"),
        (RuntimeError("boom at /srv/secret"), 500, "failure"),
    ],
)
async def test_a_failure_inside_has_its_status_and_tells_the_client_nothing_of_the_inside(
    furnished: House, error: Exception, status: int, kind: str
) -> None:
    async def fail(query: Query, emit: Emit | None) -> None:
        raise error

    async with opened(furnished.settings(), load=interrupted(fail)) as api:
        response = await api.ask()
        [line] = [line for line in api.log if line.get("route") == "/v1/query"]
        counted = await api.metric(f'touchstone_requests_total{{route="/v1/query",status="{status}"}}')
    assert response.status_code == status
    assert response.json()["type"] == f"urn:touchstone:problem:{kind}"
    assert "secret" not in response.text
    assert "boom" not in response.text
    assert response.headers["x-request-id"] == line["request_id"]
    assert line["status"] == status
    assert ("boom" in json.dumps(line)) == (not isinstance(error, TimeoutError))
    assert counted
    assert ("Retry-After" in response.headers) == (status == 503)


async def test_an_answer_that_takes_too_long_is_given_up(furnished: House) -> None:
    ended = asyncio.Event()

    async def hold(query: Query, emit: Emit | None) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with opened(furnished.settings(), load=interrupted(hold)) as api:
        service = api.app.state.service
        api.app.state.service = replace(service, settings=furnished.settings(request_timeout_s=0.2))  # of questions, not of loading
        response = await api.ask()
        assert service.concurrency.running == 0
    assert response.status_code == 504
    assert ended.is_set()


async def test_an_unknown_address_and_a_wrong_method_are_problems_too(furnished: House) -> None:
    async with opened(furnished.settings()) as api:
        unknown = await api.client.get("/docs")
        wrong = await api.client.get("/v1/query")
        counted = await api.metric('touchstone_requests_total{route="other",status="404"}')
    assert (unknown.status_code, wrong.status_code) == (404, 405)
    assert unknown.json()["detail"] == "There is nothing at this address."
    assert unknown.headers["content-type"] == wrong.headers["content-type"] == "application/problem+json"
    assert counted


async def test_the_schema_names_every_address_and_the_problems(furnished: House) -> None:
    async with opened(furnished.settings()) as api:
        schema = (await api.client.get("/openapi.json")).json()
    own = {f"/v1/{name}" for name in ("query", "query/stream", "retrieve", "release", "traces", "traces/{trace_id}", "feedback")}
    own |= {f"/v1/documents{rest}" for rest in ("", "/{ident}", "/{ident}/text")}
    others = {f"/v1/{name}" for name in ("chat/completions", "responses", "models", "dify/retrieval")}
    moves = {f"/channels/{{name}}/{move}" for move in ("promote", "approve", "rollback", "candidate", "switch", "withdraw")}
    read = ("/traffic", "/replica", "/channels", "/channels/{name}/verdict", "/releases", "/audit")
    admin = {f"/v1/admin{rest}" for rest in (*read, *moves)}
    assert set(schema["paths"]) == own | others | admin | {"/livez", "/readyz", "/version", "/metrics"}
    assert {"401", "413", "422", "503", "504"} <= set(schema["paths"]["/v1/query"]["post"]["responses"])


async def test_a_crash_that_repeats_itself_shows_its_traceback_once_and_is_counted(furnished: House) -> None:
    async def fail(query: Query, emit: Emit | None) -> None:
        raise RuntimeError("boom")

    async with opened(furnished.settings(), load=interrupted(fail)) as api:
        for _ in range(20):
            assert (await api.ask()).status_code == 500
        lines = [line for line in api.log if line.get("status") == 500]
        counted = api.app.state.service.repeats.due()
    assert [bool(line.get("exception")) for line in lines] == [True] + [False] * 19
    assert {line["error"] for line in lines} == {"RuntimeError"}
    assert counted == {"crash of /v1/query: RuntimeError": 19}
