"""The doors for clients of other protocols, each tried by the client of its kind."""

import json
from typing import Any

import httpx
import openai
import pytest

from serving.pipeline.answer.answerer import Emit
from serving.pipeline.errors import ModelError
from serving.pipeline.types import Query, Turn
from tests.app.making import QUESTION, SAYS, House, Open, interrupted, opened

USER: Any = {"role": "user", "content": QUESTION}


def client(api: Open, key: str = "unused") -> openai.AsyncOpenAI:
    """Their client, whose requests come to our app."""
    http = httpx.AsyncClient(transport=httpx.ASGITransport(app=api.app), base_url="http://test/v1")
    return openai.AsyncOpenAI(api_key=key, base_url="http://test/v1", http_client=http, max_retries=0)


async def test_a_chat_completion_has_the_answer_with_its_citations_as_annotations(furnished: House) -> None:
    async with opened(furnished.settings()) as api:
        done = await client(api).chat.completions.create(model="touchstone", messages=[{"role": "system", "content": "Be brief."}, USER])
    [choice] = done.choices
    assert choice.message.content == SAYS
    assert choice.finish_reason == "stop"
    [annotation] = choice.message.annotations or []
    place = annotation.url_citation
    assert SAYS[place.start_index : place.end_index] == "[1]"
    assert (place.title, place.url.partition("?start=")[0]) == ("Leave policy", "/v1/documents/leave.md/text")
    assert done.usage is not None
    assert done.usage.total_tokens == done.usage.prompt_tokens + done.usage.completion_tokens > 0
    extra: Any = done.model_extra
    assert done.id == f"chatcmpl-{extra['touchstone']['trace_id']}"


async def test_a_streamed_completion_has_the_same_text_then_annotations_the_reason_and_the_usage(furnished: House) -> None:
    async with opened(furnished.settings()) as api:
        stream = await client(api).chat.completions.create(
            model="any", messages=[USER], stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]
    text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    assert text == SAYS
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [choice.finish_reason for chunk in chunks for choice in chunk.choices if choice.finish_reason] == ["stop"]
    assert len({chunk.id for chunk in chunks}) == 1
    assert chunks[-1].usage is not None and chunks[-1].choices == []


async def test_a_response_has_the_answer_with_its_citations_as_annotations(furnished: House) -> None:
    async with opened(furnished.settings()) as api:
        done = await client(api).responses.create(model="touchstone", input=QUESTION)
    assert done.output_text == SAYS
    message: Any = done.output[0]
    [annotation] = message.content[0].annotations
    assert annotation.type == "url_citation"
    assert annotation.url.startswith("/v1/documents/leave.md/text?start=")
    assert done.status == "completed"
    assert done.usage is not None and done.usage.total_tokens > 0


async def test_the_events_of_a_response_are_understood_by_their_client(furnished: House) -> None:
    async with opened(furnished.settings()) as api:
        events = [event async for event in await client(api).responses.create(model="touchstone", input=[USER], stream=True)]
    kinds = [event.type for event in events]
    assert kinds[0] == "response.created" and kinds[-1] == "response.completed"
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == SAYS
    assert "response.output_text.annotation.added" in kinds
    assert [event.sequence_number for event in events] == list(range(len(events)))
    last: Any = events[-1]
    assert last.response.output_text == SAYS


async def test_what_was_said_before_is_the_history_of_the_question(furnished: House) -> None:
    seen: list[Query] = []

    async def look(query: Query, emit: Emit | None) -> None:
        seen.append(query)

    async with opened(furnished.settings(), load=interrupted(look)) as api:
        said: Any = [USER, {"role": "assistant", "content": SAYS}, {"role": "user", "content": [{"type": "text", "text": "And in Spain?"}]}]
        await client(api).chat.completions.create(model="touchstone", messages=said, user="session-1")
    assert (seen[-1].text, seen[-1].history) == ("And in Spain?", (Turn(QUESTION, SAYS),))


@pytest.mark.parametrize("messages", [[], [{"role": "assistant", "content": "x"}], [{"role": "user", "content": "  "}], [{"role": "odd"}]])
async def test_a_conversation_without_a_question_is_refused(furnished: House, messages: Any) -> None:
    async with opened(furnished.settings()) as api:
        with pytest.raises(openai.UnprocessableEntityError):
            await client(api).chat.completions.create(model="touchstone", messages=messages)


async def test_a_failure_is_an_error_of_their_client(furnished: House) -> None:
    async def fail(query: Query, emit: Emit | None) -> None:
        if query.text != QUESTION:
            return
        if emit:
            emit("The first words")
        raise ModelError("the provider is out")

    async with opened(furnished.settings(), load=interrupted(fail)) as api:
        with pytest.raises(openai.InternalServerError) as caught:
            await client(api).chat.completions.create(model="touchstone", messages=[USER])
        assert caught.value.status_code == 503
        with pytest.raises(openai.APIError, match="did not answer"):
            [chunk async for chunk in await client(api).chat.completions.create(model="touchstone", messages=[USER], stream=True)]


async def test_the_one_model_is_listed(furnished: House) -> None:
    async with opened(furnished.settings()) as api:
        assert [model.id for model in (await client(api).models.list()).data] == ["touchstone"]


async def test_passages_are_found_without_an_answer(furnished: House) -> None:
    async with opened(furnished.settings()) as api:
        found = (await api.client.post("/v1/retrieve", json={"question": QUESTION})).json()
        narrowed = (await api.client.post("/v1/retrieve", json={"question": QUESTION, "domains": ["finance"]})).json()
        trace = (await api.client.get(f"/v1/traces/{found['trace_id']}")).json()
    assert found["passages"][0]["document"] == "leave.md"
    assert "28 days" in found["passages"][0]["text"]
    assert {passage["document"] for passage in narrowed["passages"]} <= {"expenses.md"}
    assert "salaries.md" not in json.dumps(found)
    assert (trace["llm_response"], trace["final_prompt"]) == ("", "")


async def test_dify_finds_passages_by_its_own_protocol(furnished: House) -> None:
    async with opened(furnished.settings()) as api:

        async def ask(**changes: Any) -> httpx.Response:
            setting = {"top_k": 2, "score_threshold": 0.0, "unknown": True}
            body = {"knowledge_id": "all", "query": QUESTION, "retrieval_setting": setting, "metadata_condition": None}
            return await api.client.post("/v1/dify/retrieval", json=body | changes)

        records = (await ask()).json()["records"]
        strict = (await ask(retrieval_setting={"top_k": 5, "score_threshold": 1.0})).json()["records"]
        elsewhere = (await ask(knowledge_id="finance")).json()["records"]
        refused = await ask(query="")
    assert len(records) == 2
    assert set(records[0]) == {"content", "score", "title", "metadata"}
    assert (records[0]["score"], records[0]["title"], records[0]["metadata"]["document"]) == (1.0, "Leave policy", "leave.md")
    assert [record["score"] for record in strict] == [1.0]
    assert {record["metadata"]["document"] for record in elsewhere} <= {"expenses.md"}
    assert refused.status_code == 422


async def test_dify_is_told_that_a_blank_question_is_none(furnished: House) -> None:
    async with opened(furnished.settings()) as api:
        refused = await api.client.post("/v1/dify/retrieval", json={"knowledge_id": "all", "query": "  \n"})
    assert refused.status_code == 422
    assert refused.json()["detail"].startswith("query: ")
