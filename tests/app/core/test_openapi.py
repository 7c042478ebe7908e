"""The OpenAPI document against what is answered: no status, content type or body that it does not declare."""

import asyncio
import itertools
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as trying
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter

from serving.app.admin.audit import AuditOut
from serving.app.admin.wire import ChannelOut, ChannelsOut, ReleasesOut, ReplicaOut, TrafficOut
from serving.app.compatible.dify import DifyOut
from serving.app.core.health import Alive, VersionOut
from serving.app.core.wire import ProblemOut
from serving.app.documents.wire import DocumentOut, DocumentsOut, DocumentTextOut
from serving.app.query.wire import AnswerOut, RetrievedOut
from serving.app.release.wire import ReadyOut, ReleaseOut
from serving.app.traces.wire import FeedbackOut, TraceOut, TracesOut
from serving.pipeline.answer.answerer import Emit
from serving.pipeline.errors import ConfigError, ModelError, ThrottledError
from serving.pipeline.types import Query
from tests.app.core.test_auth import DIRECTOR, bearer, sha
from tests.app.making import QUESTION, House, Open, interrupted, opened
from tests.support.waiting import WITHIN_S, eventually

ASKED = f'{{"question": "{QUESTION}"}}'.encode()
BODIES = [
    ASKED, b"", b"{", b"[]", b"null", b"{}", b'{"question": 1}', b'{"question": ""}', b"\xff\xfe", b"\x00", b"[" * 60_000,
    b'"' + b"a" * 70_000, b'{"question": "a", "question": "b"}', b'{"question": "\\u0000"}', b'{"question": "\\ud800"}',
    b'{"question": NaN}', b'{"question": 1e999}', b'{"question": "a", "metadata": {"a": null}}', b'{"question": "a", "domains": [[]]}',
    b'{"__proto__": {}}', b'{"question": "' + b"x" * 9000 + b'"}',
]  # fmt: skip
KINDS = [
    "application/json", "application/json; charset=latin-1", "application/x-www-form-urlencoded", "multipart/form-data", "text/plain", "",
    "é",
]  # fmt: skip
QUERIES = ["", "?trace=1", "?trace=", "?trace=maybe", "?trace=1&trace=0", "?" + "a=b&" * 500, "?%00", "?trace=%ff"]
ADMIN = [AuditOut, ChannelOut, ChannelsOut, ReleasesOut, ReplicaOut, TrafficOut]
ROUTES = [("GET", "/v1/release"), ("POST", "/v1/query"), ("POST", "/v1/query/stream"), ("GET", "/readyz"), ("GET", "/metrics")]
ROUTES += [("GET", f"/v1/admin/{name}") for name in ("traffic", "replica", "channels", "releases", "audit")]
ROUTES += [("GET", "/v1/traces"), ("POST", "/v1/feedback"), ("POST", "/v1/retrieve"), ("GET", "/v1/models")]
ROUTES += [("GET", "/v1/documents"), ("POST", "/v1/documents")]
ROUTES += [("POST", "/v1/chat/completions"), ("POST", "/v1/responses"), ("POST", "/v1/dify/retrieval")]
MODELS: dict[str, type[BaseModel]] = {model.__name__: model for model in ADMIN}
MODELS |= {"Alive": Alive, "AnswerOut": AnswerOut, "ProblemOut": ProblemOut, "ReadyOut": ReadyOut, "ReleaseOut": ReleaseOut}
MODELS |= {"FeedbackOut": FeedbackOut, "TraceOut": TraceOut, "TracesOut": TracesOut, "RetrievedOut": RetrievedOut, "DifyOut": DifyOut}
MODELS |= {"VersionOut": VersionOut}
MODELS |= {"DocumentOut": DocumentOut, "DocumentsOut": DocumentsOut, "DocumentTextOut": DocumentTextOut}


class Document:
    """What the document says."""

    def __init__(self, schema: dict[str, Any]) -> None:
        self.schema = schema

    def check(self, response: httpx.Response) -> None:
        """Fail unless a response is declared; addresses and methods that are not declared answer with a problem."""
        request = response.request
        kind = response.headers["content-type"].partition(";")[0]
        said = f"{request.method} {request.url} {response.status_code} {kind}"
        operation = self.schema["paths"].get(request.url.path, {}).get(request.method.lower())
        if operation is None:
            assert (response.status_code in (401, 404, 405), kind) == (True, "application/problem+json"), said
            if request.method != "HEAD":  # which has none
                ProblemOut.model_validate_json(response.content)
            return
        declared = operation["responses"].get(str(response.status_code))
        assert declared, f"undeclared status: {said}"
        assert kind in declared["content"], f"undeclared content type: {said}"
        reference = declared["content"][kind].get("schema", {}).get("$ref", "")
        if reference:
            MODELS[reference.rpartition("/")[2]].model_validate_json(response.content)


async def document(api: Open) -> Document:
    return Document((await api.client.get("/openapi.json")).json())


async def test_every_operation_declares_problems_as_problems_with_examples_that_fit(furnished: House) -> None:
    async with opened(furnished.settings()) as api:
        schema = (await document(api)).schema
    problems = 0
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            for status, response in operation["responses"].items():
                if status == "204":  # which has none
                    continue
                assert response["content"], (path, method, status)
                if int(status) < 400:
                    continue
                assert set(response["content"]) <= {"application/problem+json", *(["application/json"] if path == "/readyz" else [])}
                declared = response["content"]["application/problem+json"]
                assert declared["schema"] == {"$ref": "#/components/schemas/ProblemOut"}
                for example in declared["examples"].values():
                    assert ProblemOut.model_validate(example["value"]).status == int(status)
                    problems += 1
    assert problems > 50
    assert {"400", "401", "408", "413", "415", "422", "500", "503", "504"} <= set(schema["paths"]["/v1/query/stream"]["post"]["responses"])
    for name in ("ProblemOut", "QueryIn", "AnswerOut"):
        TypeAdapter(dict[str, Any]).validate_python(schema["components"]["schemas"][name])


@pytest.mark.slow
async def test_nothing_that_is_sent_gets_an_answer_that_is_not_declared(furnished: House) -> None:
    async with opened(furnished.settings(expose_trace=True)) as api:
        declared = await document(api)
        seen: set[int] = set()
        paths = ["/v1/query", "/v1/query/stream"]
        combinations = [
            *itertools.product(paths, BODIES, KINDS[:1], QUERIES[:1]),
            *itertools.product(paths, [ASKED, b"{"], KINDS, QUERIES[:2]),
            *itertools.product(paths, [ASKED, b"{"], KINDS[:1], QUERIES),
        ]
        for path, body, kind, asked in combinations:
            headers = {"Content-Type": kind.encode()} if kind else {}
            response = await api.client.post(path + asked, content=body, headers=headers)
            declared.check(response)
            seen.add(response.status_code)
        for method in ("GET", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "TRACE", "BREW"):
            for path in (*declared.schema["paths"], "/", "/v1", "/v1/", "/v1/query/", "/../etc/passwd", "/%2e%2e/x", "//v1/query", "/docs"):
                response = await api.client.request(method, path)
                if response.status_code != 200 or path != "/":
                    declared.check(response)
        ranged = await api.client.get("/", headers={"Range": "bytes=0-1"})
    assert seen == {200, 400, 413, 415, 422}
    assert ranged.status_code == 200


@pytest.mark.parametrize("error", [ConfigError("x"), ModelError("x"), ThrottledError("x"), TimeoutError(), RuntimeError("x"), OSError("x")])
async def test_no_failure_inside_gets_an_answer_that_is_not_declared(furnished: House, error: Exception) -> None:
    async def fail(query: Query, emit: Emit | None) -> None:
        if query.id != "warm-up":
            raise error

    async with opened(furnished.settings(), load=interrupted(fail)) as api:
        declared = await document(api)
        for path in ("/v1/query", "/v1/query/stream"):
            declared.check(await api.client.post(path, json={"question": QUESTION}))


async def test_no_state_of_the_server_gets_an_answer_that_is_not_declared(tmp_path: Path) -> None:
    keys = tmp_path / "keys.yaml"
    await asyncio.to_thread(keys.write_text, f"{sha(DIRECTOR)}: {{id: director}}")
    async with opened(House(tmp_path).settings(api_keys=keys)) as api:
        declared = await document(api)
        statuses = set()
        for headers in ({}, bearer("wrong"), bearer(DIRECTOR), {"Authorization": b"Bearer \xff"}):
            for method, path in ROUTES:
                response = await api.client.request(method, path, content=b"{}" if method == "POST" else None, headers=headers)
                declared.check(response)
                statuses.add((path, response.status_code))
    assert {("/v1/release", 401), ("/v1/release", 503), ("/readyz", 503), ("/metrics", 200)} <= statuses


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
)


@pytest.mark.slow
async def test_no_json_gets_an_answer_that_is_not_declared(furnished: House) -> None:
    async with opened(furnished.settings()) as api:
        declared = await document(api)
        loop = asyncio.get_running_loop()

        async def send(body: Any) -> None:
            content = json.dumps(body).encode()
            declared.check(await api.client.post("/v1/query", content=content, headers={"Content-Type": "application/json"}))

        fields = st.fixed_dictionaries({}, optional={"question": JSON, "domains": JSON, "metadata": JSON, "principal": JSON})

        @trying(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
        @given(body=fields | JSON)
        def fuzz(body: Any) -> None:
            asyncio.run_coroutine_threadsafe(send(body), loop).result(WITHIN_S)

        await asyncio.to_thread(fuzz)


async def test_the_document_says_which_operations_ask_for_a_key_how_long_a_question_may_be_and_where_an_answer_leads(
    furnished: House, tmp_path: Path
) -> None:
    await asyncio.to_thread((tmp_path / "keys.yaml").write_text, f"{sha(DIRECTOR)}: {{id: director}}")
    async with opened(furnished.settings(max_question_chars=321, api_keys=tmp_path / "keys.yaml")) as api:
        schema = (await document(api)).schema
    async with opened(furnished.settings()) as api:
        without_keys = (await document(api)).schema
    operations = {(path, method): one for path, methods in schema["paths"].items() for method, one in methods.items()}
    assert {path.startswith("/v1/") for (path, _), one in operations.items() if one.get("security") == [{"key": []}]} == {True}
    assert "security" not in operations["/readyz", "get"]
    assert "security" not in without_keys["paths"]["/v1/query"]["post"]
    schemas = schema["components"]["schemas"]
    assert {schemas["QueryIn"]["properties"]["question"]["maxLength"], schemas["DifyIn"]["properties"]["query"]["maxLength"]} == {321}
    known = {one["operationId"] for one in operations.values()}
    led = {link["operationId"] for one in operations.values() for link in one["responses"].get("200", {}).get("links", {}).values()}
    assert led
    assert led <= known


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/v1/traces?before=1764410000", None),
        ("GET", "/v1/traces?before=0.5", None),
        ("POST", "/v1/feedback", {"trace_id": "t", "kind": "thumbs", "value": True}),
        ("POST", "/v1/dify/retrieval", {"knowledge_id": "all", "query": "a", "retrieval_setting": {"score_threshold": False}}),
        ("POST", "/v1/dify/retrieval", {"knowledge_id": "all", "query": "a", "retrieval_setting": {"top_k": True}}),
    ],
)
async def test_a_value_of_another_kind_is_not_taken_for_the_one_that_is_meant(
    furnished: House, method: str, path: str, body: dict[str, Any] | None
) -> None:
    async with opened(furnished.settings()) as api:
        response = await api.client.request(method, path, json=body)
        assert response.status_code == 422
        (await document(api)).check(response)


async def test_the_next_page_of_traces_is_asked_for_by_the_time_that_was_told(furnished: House, tmp_path: Path) -> None:
    async with opened(furnished.settings(traces=str(tmp_path / "traces.db"))) as api:
        for number in range(3):
            assert (await api.ask(f"{QUESTION} {number}")).status_code == 200
        await eventually(lambda: not api.app.state.service.traces.waiting)
        first = (await api.client.get("/v1/traces", params={"limit": 2})).json()
        rest = (await api.client.get("/v1/traces", params={"limit": 2, "before": first["next"]})).json()
    assert [len(first["traces"]), len(rest["traces"])] == [2, 1]
