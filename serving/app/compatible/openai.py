"""Routes compatible with OpenAI's chat completions and responses; citations become annotations.

Parameters such as temperature and tools are ignored. The question is the last message of the user; earlier messages are the conversation.
"""

from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Request, Response
from pydantic import Field, StringConstraints

from serving.app.compatible.lenient import LenientModel
from serving.app.compatible.openai_chat import ChatCompletionsFormat, completion
from serving.app.compatible.openai_fields import MODEL
from serving.app.compatible.openai_responses import ResponsesFormat, response_of
from serving.app.core.openapi import event_stream, json_body, problem_responses
from serving.app.core.problems import Problem, Rejected
from serving.app.core.wire import Name
from serving.app.query.body import read_body
from serving.app.query.jsontext import json_response
from serving.app.query.service import QueryService, cancel_on_disconnect
from serving.app.query.stream import AnswerStream
from serving.app.query.wire import QueryIn, TurnIn

MOST_TURNS: Final = 20
TURN_CHARS: Final = 4000
BODY_PATHS = frozenset({"/v1/chat/completions", "/v1/responses"})
QUESTION_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "As OpenAI's API answers; with `stream`, as events",
        "content": {"application/json": {"schema": {"type": "object"}}, **event_stream()},
    },
    **problem_responses(401, 403, 413, 415, 422, 429, 504),
}

router = APIRouter(prefix="/v1", tags=["compatible"])

MessageText = Annotated[str, StringConstraints(max_length=100_000)]


class Part(LenientModel):
    """A piece of a message; only texts are read."""

    type: str = "text"
    text: MessageText = ""


class Message(LenientModel):
    """One message of the conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: MessageText | tuple[Part, ...] | None = None

    @property
    def text(self) -> str:
        """Its texts."""
        if isinstance(self.content, tuple):
            return "\n".join(part.text for part in self.content if part.text)
        return self.content or ""


class StreamOptions(LenientModel):
    """Whether the last chunk has the usage."""

    include_usage: bool = False


class ChatIn(LenientModel):
    """A chat completion's request."""

    model: str = MODEL
    messages: tuple[Message, ...] = Field(min_length=1, max_length=200)
    stream: bool = False
    stream_options: StreamOptions | None = None
    user: Name | None = None


class ResponsesIn(LenientModel):
    """A request of the responses API."""

    model: str = MODEL
    input: MessageText | tuple[Message, ...]
    stream: bool = False
    user: Name | None = None

    @property
    def messages(self) -> tuple[Message, ...]:
        """The input as messages."""
        return (Message(role="user", content=self.input),) if isinstance(self.input, str) else self.input


@router.get("/models", responses=problem_responses(401, 403, 429))
async def models(request: Request) -> dict[str, Any]:
    """The one model there is: the release that is served."""
    return {"object": "list", "data": [{"id": MODEL, "object": "model", "created": 0, "owned_by": MODEL}]}


@router.post("/chat/completions", response_class=Response, responses=QUESTION_RESPONSES, openapi_extra=json_body(ChatIn))
async def chat(request: Request) -> Response:
    """Answer as OpenAI's chat completions do; with `stream`, in chunks."""
    body = read_body(request, ChatIn)
    asked = QueryService.of(request, _question(body.messages, body.user))
    if body.stream:
        return AnswerStream(asked, ChatCompletionsFormat(with_usage=bool(body.stream_options and body.stream_options.include_usage)))
    answer = await cancel_on_disconnect(request.receive, asked.answer())
    return json_response(completion(answer))


@router.post("/responses", response_class=Response, responses=QUESTION_RESPONSES, openapi_extra=json_body(ResponsesIn))
async def responses(request: Request) -> Response:
    """Answer as OpenAI's responses API does; with `stream`, in its events."""
    body = read_body(request, ResponsesIn)
    asked = QueryService.of(request, _question(body.messages, body.user))
    if body.stream:
        return AnswerStream(asked, ResponsesFormat())
    answer = await cancel_on_disconnect(request.receive, asked.answer())
    return json_response(response_of(answer))


def _question(messages: tuple[Message, ...], user: str | None) -> QueryIn:
    """The user's last message as a question, with the earlier messages as its history."""
    last = next((place for place in range(len(messages) - 1, -1, -1) if messages[place].role == "user"), None)
    text = messages[last].text.strip() if last is not None else ""
    if last is None or not text:
        raise Rejected(Problem(422, "invalid-request", "messages: there is no text of the user in them."))
    return QueryIn.model_construct(question=text, domains=(), metadata={}, history=_turns(messages[:last]), session=user)


def _turns(messages: tuple[Message, ...]) -> tuple[TurnIn, ...]:
    """Earlier messages as turns of user and assistant; messages of other roles are ignored."""
    turns: list[TurnIn] = []
    for message in messages:
        text = message.text.strip()[:TURN_CHARS]
        if text and message.role == "user":
            turns.append(TurnIn(question=text))
        elif text and message.role == "assistant" and turns:
            before = turns[-1]
            turns[-1] = TurnIn(question=before.question, answer=f"{before.answer}\n{text}".strip()[:TURN_CHARS])
    return tuple(turns[-MOST_TURNS:])
