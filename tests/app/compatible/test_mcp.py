"""The door for agents, tried by the protocol's own client."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from serving.keys import Caller, create_key
from serving.pipeline.answer.answerer import Emit
from serving.pipeline.errors import ModelError
from serving.pipeline.types import Query
from tests.app.core.test_auth import SALARIES, bearer
from tests.app.making import QUESTION, SAYS, House, Open, interrupted, opened


@asynccontextmanager
async def agent(api: Open, **headers: str) -> AsyncIterator[Client]:
    transport = httpx2.ASGITransport(app=api.app)
    async with (
        httpx2.AsyncClient(transport=transport, base_url="http://test", headers=headers) as http,
        Client(streamable_http_client("http://test/v1/mcp", http_client=http)) as client,
    ):
        yield client


async def test_an_agent_finds_two_tools_that_change_nothing_and_asks(furnished: House) -> None:
    async with opened(furnished.settings()) as api, agent(api) as client:
        tools = (await client.list_tools()).tools
        answer: Any = await client.call_tool("ask", {"question": QUESTION})
        found: Any = await client.call_tool("search", {"question": QUESTION, "domains": ["hr"]})
    assert [tool.name for tool in tools] == ["ask", "search"]
    assert all(tool.annotations is not None and tool.annotations.read_only_hint for tool in tools)
    assert not answer.is_error
    assert answer.structured_content["answer"] == SAYS
    assert answer.structured_content["citations"][0]["document"] == "leave.md"
    assert SAYS in answer.content[0].text
    assert found.structured_content["passages"][0]["document"] == "leave.md"


async def test_a_mistake_or_an_outage_is_an_error_that_the_agent_can_read(furnished: House) -> None:
    async def fail(query: Query, emit: Emit | None) -> None:
        if query.text == "Fail?":
            raise ModelError("the password is hunter2")

    async with opened(furnished.settings(), load=interrupted(fail)) as api, agent(api) as client:
        results: list[Any] = [
            await client.call_tool("ask", {"question": ""}),
            await client.call_tool("ask", {"question": QUESTION, "tenant": "other"}),
            await client.call_tool("ask", {"question": "Fail?"}),
            await client.call_tool("write", {"question": QUESTION}),
        ]
    assert all(result.is_error for result in results)
    words = [result.content[0].text for result in results]
    assert "question" in words[0] and "tenant" in words[1]
    assert words[2] == "A part this service stands on did not answer. Try again shortly."
    assert words[3] == "There is no tool 'write'. There are: ask, search."
    assert "hunter2" not in str(results)


async def test_an_agents_key_opens_what_its_owner_may_see_and_no_more(furnished: House, tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    director = create_key(path, Caller(id="director", groups=frozenset({"board"})))
    clerk = create_key(path, Caller(id="clerk"))
    async with opened(furnished.settings(api_keys=path, traces=str(tmp_path / "traces.db"))) as api:
        seen = {}
        for name, key in (("director", director), ("clerk", clerk)):
            async with agent(api, **bearer(key)) as client:
                found: Any = await client.call_tool("search", {"question": SALARIES})
                seen[name] = {passage["document"] for passage in found.structured_content["passages"]}
        refused = await api.client.post("/v1/mcp", json={"jsonrpc": "2.0", "id": 1, "method": "tools/list"})
    assert "salaries.md" in seen["director"]
    assert "salaries.md" not in seen["clerk"]
    assert refused.status_code == 401


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"jsonrpc": "2.0"}', b"\xff", b"x" * 70_000])
async def test_what_is_no_request_of_the_protocol_is_refused(furnished: House, body: bytes) -> None:
    headers = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
    async with opened(furnished.settings()) as api:
        answer = await api.client.post("/v1/mcp", content=body, headers=headers)
    assert 400 <= answer.status_code < 500
