import asyncio
from typing import Any

from serving.app.query.service import QueryService
from serving.app.query.stream import PING, AnswerStream
from serving.pipeline.answer.answerer import Emit
from serving.pipeline.errors import ModelError
from serving.pipeline.types import Query
from tests.app.making import QUESTION, SAYS, House, events, interrupted, opened
from tests.support.waiting import WITHIN_S

ASKED = {"question": QUESTION}


async def test_tokens_come_before_one_answer_that_equals_them_and_the_plain_route(furnished: House) -> None:
    async with opened(furnished.settings()) as api:
        streamed = await api.client.post("/v1/query/stream", json=ASKED)
        plain = (await api.ask()).json()
    assert streamed.headers["content-type"].startswith("text/event-stream")
    *tokens, (last, answer) = events(streamed.text)
    assert last == "answer"
    assert {name for name, _ in tokens} == {"token"}
    assert len(tokens) > 3
    assert "".join(data["text"] for _, data in tokens) == SAYS
    own = {"milliseconds", "trace_id"}
    assert {key: value for key, value in answer.items() if key not in own} == {key: value for key, value in plain.items() if key not in own}


async def test_a_failure_before_the_first_word_is_a_problem_with_its_status(furnished: House) -> None:
    async def fail(query: Query, emit: Emit | None) -> None:
        raise ModelError("secret-endpoint.internal is down")

    async with opened(furnished.settings(), load=interrupted(fail)) as api:
        response = await api.client.post("/v1/query/stream", json=ASKED)
    assert response.status_code == 503
    assert response.headers["content-type"] == "application/problem+json"
    assert "secret-endpoint" not in response.text


async def test_a_failure_after_the_first_word_is_an_error_event_without_the_inside(furnished: House) -> None:
    async def fail(query: Query, emit: Emit | None) -> None:
        assert emit is not None
        emit("Every")
        await asyncio.sleep(0)
        raise ModelError("secret-endpoint.internal is down")

    async with opened(furnished.settings(), load=interrupted(fail)) as api:
        response = await api.client.post("/v1/query/stream", json=ASKED)
        log = api.log[-1]
    assert response.status_code == 200
    (first, word), (last, problem) = events(response.text)
    assert (first, word) == ("token", {"text": "Every"})
    assert last == "error"
    assert problem["status"] == 503
    assert "secret-endpoint" not in response.text
    assert log["error"] == "ModelError: secret-endpoint.internal is down"
    assert log["level"] == "error"


async def test_an_answer_that_was_not_streamed_is_still_told_as_one_token(furnished: House) -> None:
    async def nothing(query: Query, emit: Emit | None) -> None:
        pass

    async with opened(furnished.settings(), load=interrupted(nothing, mute=True)) as api:
        response = await api.client.post("/v1/query/stream", json=ASKED)
    [(first, word), (last, answer)] = events(response.text)
    assert (first, last) == ("token", "answer")
    assert word["text"] == answer["answer"] == SAYS


async def test_a_line_break_in_an_answer_does_not_break_its_event(house: House) -> None:
    from tests.app.making import config

    await house.release(config("First.\n\nevent: answer\ndata: {}\n\nLast."))
    async with opened(house.settings()) as api:
        found = events((await api.client.post("/v1/query/stream", json=ASKED)).text)
    assert [name for name, _ in found].count("answer") == 1
    assert "".join(data["text"] for name, data in found if name == "token") == "First.\n\nevent: answer\ndata: {}\n\nLast."


async def test_a_client_that_hangs_up_ends_the_work(furnished: House) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def hold(query: Query, emit: Emit | None) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with opened(furnished.settings(), load=interrupted(hold)) as api:
        for path in ("/v1/query", "/v1/query/stream"):
            begun.clear()
            ended.clear()
            sent = await asyncio.wait_for(_hang_up(api.app, path, begun), WITHIN_S)
            await asyncio.wait_for(ended.wait(), WITHIN_S)
            assert sent == []
            assert api.log[-1]["status"] == 499
        assert api.app.state.service.concurrency.running == 0


async def test_silence_is_filled_with_comments(furnished: House) -> None:
    enough = asyncio.Event()

    class Slow:
        async def answer(self, emit: Emit) -> Any:
            await enough.wait()
            raise TimeoutError

    sent: list[bytes] = []

    async def send(message: Any) -> None:
        sent.append(message.get("body", b""))
        if sent.count(PING) == 3:
            enough.set()

    async def receive() -> Any:
        await asyncio.Event().wait()

    slow: QueryService = Slow()  # type: ignore[assignment]
    await asyncio.wait_for(AnswerStream(slow, ping_s=0.001)({"type": "http", "state": {}}, receive, send), WITHIN_S)
    assert sent.count(PING) >= 3
    assert b"event: error" in sent[-1]


async def _hang_up(app: Any, path: str, begun: asyncio.Event) -> list[Any]:
    """Ask, and hang up once the work has begun; returns what was sent to us."""
    body = b'{"question": "Is anyone there?"}'
    messages = [{"type": "http.request", "body": body, "more_body": False}]
    sent: list[Any] = []

    async def receive() -> Any:
        if messages:
            return messages.pop(0)
        await begun.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    scope = {
        "type": "http", "http_version": "1.1", "method": "POST", "path": path, "raw_path": path.encode(), "root_path": "",
        "query_string": b"", "headers": headers, "scheme": "http", "server": ("test", 80), "client": ("test", 1), "state": {},
    }  # fmt: skip
    await app(scope, receive, send)
    return sent
