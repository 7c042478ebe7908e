"""OpenAI's chat completions and responses: their clients ask us, and read our citations as annotations.

What does not matter here (temperature, tools, …) is passed over; the question is the last message of the user, and what was said before
is the conversation's history.
"""

import json
import re
import time
from typing import Annotated, Any, Final, Literal
from urllib.parse import quote

from fastapi import APIRouter, Request, Response
from pydantic import Field, StringConstraints

from serving.app.compatible.lenient import Lenient
from serving.app.core.openapi import event_stream, json_body, problem_responses
from serving.app.core.problems import Problem, Rejected
from serving.app.query.body import read_body
from serving.app.query.jsontext import json_text
from serving.app.query.service import QueryService, cancel_on_disconnect
from serving.app.query.stream import AnswerStream
from serving.app.query.wire import AnswerOut, CitationOut, Name, QueryIn, TurnIn

MODEL: Final = "touchstone"
MOST_TURNS: Final = 20
TURN_CHARS: Final = 4000
MARKER: Final = re.compile(r"\[(\d{1,4})\]")
BODIES = frozenset({"/v1/chat/completions", "/v1/responses"})
ASKED: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "As OpenAI's API answers; with `stream`, as events",
        "content": {"application/json": {"schema": {"type": "object"}}, **event_stream()},
    },
    **problem_responses(401, 403, 413, 415, 422, 429, 504),
}

router = APIRouter(prefix="/v1", tags=["compatible"])

Said = Annotated[str, StringConstraints(max_length=100_000)]


class Part(Lenient):
    """A piece of a message; only texts are read."""

    type: str = "text"
    text: Said = ""


class Message(Lenient):
    """What somebody said."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: Said | tuple[Part, ...] | None = None

    @property
    def text(self) -> str:
        """Its texts."""
        if isinstance(self.content, tuple):
            return "\n".join(part.text for part in self.content if part.text)
        return self.content or ""


class StreamOptions(Lenient):
    """Whether the last chunk tells the usage."""

    include_usage: bool = False


class ChatIn(Lenient):
    """A chat completion's request."""

    model: str = MODEL
    messages: tuple[Message, ...] = Field(min_length=1, max_length=200)
    stream: bool = False
    stream_options: StreamOptions | None = None
    user: Name | None = None


class ResponsesIn(Lenient):
    """A request of the responses API."""

    model: str = MODEL
    input: Said | tuple[Message, ...]
    stream: bool = False
    user: Name | None = None

    @property
    def messages(self) -> tuple[Message, ...]:
        """What was said, as messages."""
        return (Message(role="user", content=self.input),) if isinstance(self.input, str) else self.input


@router.get("/models", responses=problem_responses(401, 403, 429))
async def models(request: Request) -> dict[str, Any]:
    """The one model that there is: the release that is served."""
    return {"object": "list", "data": [{"id": MODEL, "object": "model", "created": 0, "owned_by": MODEL}]}


@router.post("/chat/completions", response_class=Response, responses=ASKED, openapi_extra=json_body(ChatIn))
async def chat(request: Request) -> Response:
    """Answer as OpenAI's chat completions do; with `stream`, in chunks."""
    body = read_body(request, ChatIn)
    asked = QueryService.of(request, _question(body.messages, body.user))
    if body.stream:
        return AnswerStream(asked, ChatForm(with_usage=bool(body.stream_options and body.stream_options.include_usage)))
    answer = await cancel_on_disconnect(request.receive, asked.answer())
    return Response(json_text(completion(answer)), media_type="application/json")


@router.post("/responses", response_class=Response, responses=ASKED, openapi_extra=json_body(ResponsesIn))
async def responses(request: Request) -> Response:
    """Answer as OpenAI's responses API does; with `stream`, in its events."""
    body = read_body(request, ResponsesIn)
    asked = QueryService.of(request, _question(body.messages, body.user))
    if body.stream:
        return AnswerStream(asked, ResponsesForm())
    answer = await cancel_on_disconnect(request.receive, asked.answer())
    return Response(json_text(response_of(answer)), media_type="application/json")


def _question(messages: tuple[Message, ...], user: str | None) -> QueryIn:
    """The last thing that the user said, with what was said before by either."""
    last = next((place for place in range(len(messages) - 1, -1, -1) if messages[place].role == "user"), None)
    text = messages[last].text.strip() if last is not None else ""
    if last is None or not text:
        raise Rejected(Problem(422, "invalid-request", "messages: there is no text of the user in them."))
    return QueryIn.model_construct(question=text, domains=(), metadata={}, history=_turns(messages[:last]), session=user)


def _turns(messages: tuple[Message, ...]) -> tuple[TurnIn, ...]:
    """What was said before, as questions with what the assistant said to each; a text of nobody else counts."""
    turns: list[TurnIn] = []
    for message in messages:
        text = message.text.strip()[:TURN_CHARS]
        if text and message.role == "user":
            turns.append(TurnIn(question=text))
        elif text and message.role == "assistant" and turns:
            before = turns[-1]
            turns[-1] = TurnIn(question=before.question, answer=f"{before.answer}\n{text}".strip()[:TURN_CHARS])
    return tuple(turns[-MOST_TURNS:])


def completion(answer: AnswerOut) -> dict[str, Any]:
    """A chat completion."""
    message = {"role": "assistant", "content": answer.answer, "refusal": None, "annotations": _chat_annotations(answer)}
    return {
        "id": f"chatcmpl-{answer.trace_id}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": MODEL,
        "choices": [{"index": 0, "message": message, "finish_reason": _finish(answer), "logprobs": None}],
        "usage": _chat_usage(answer),
        "touchstone": _extra(answer),
    }


class ChatForm:
    """Chunks of a chat completion, then `[DONE]`."""

    def __init__(self, *, with_usage: bool) -> None:
        self._with_usage = with_usage
        self._created = int(time.time())
        self._id = f"chatcmpl-{time.time_ns():x}"

    def begin(self) -> bytes:
        """The role."""
        return self._chunk({"role": "assistant", "content": ""})

    def text(self, text: str) -> bytes:
        """A piece of the answer."""
        return self._chunk({"content": text})

    def end(self, answer: AnswerOut) -> bytes:
        """The annotations, the reason of the end, and where it is asked for the usage."""
        annotated = self._chunk({"annotations": _chat_annotations(answer)}) if answer.citations else b""
        last = self._chunk({}, finish=_finish(answer), touchstone=_extra(answer))
        usage = _data({**self._frame(), "choices": [], "usage": _chat_usage(answer)}) if self._with_usage else b""
        return annotated + last + usage + b"data: [DONE]\n\n"

    def failed(self, problem: Problem) -> bytes:
        """An error as their clients know it."""
        return _data({"error": {"message": problem.detail, "type": problem.kind, "code": problem.status}})

    def _frame(self) -> dict[str, Any]:
        return {"id": self._id, "object": "chat.completion.chunk", "created": self._created, "model": MODEL}

    def _chunk(self, delta: dict[str, Any], finish: str | None = None, **more: Any) -> bytes:
        return _data({**self._frame(), "choices": [{"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}], **more})


def response_of(answer: AnswerOut) -> dict[str, Any]:
    """A response."""
    return {
        **_response_frame(f"resp_{answer.trace_id}", "completed" if not answer.truncated else "incomplete"),
        "output": [_output(answer)],
        "usage": {
            "input_tokens": answer.usage.input_tokens,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": answer.usage.output_tokens,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": answer.usage.input_tokens + answer.usage.output_tokens,
        },
        "incomplete_details": {"reason": "max_output_tokens"} if answer.truncated else None,
        "metadata": {"touchstone": json.dumps(_extra(answer))},
    }


class ResponsesForm:
    """The events of a response."""

    def __init__(self) -> None:
        self._id = f"resp_{time.time_ns():x}"
        self._count = 0

    def begin(self) -> bytes:
        """A response with a message that is empty yet."""
        frame = {**_response_frame(self._id, "in_progress"), "output": []}
        item = {"type": "message", "id": _item(self._id), "role": "assistant", "status": "in_progress", "content": []}
        return (
            self._event("response.created", response=frame)
            + self._event("response.output_item.added", output_index=0, item=item)
            + self._event("response.content_part.added", **self._place(), part={"type": "output_text", "text": "", "annotations": []})
        )

    def text(self, text: str) -> bytes:
        """A piece of the answer."""
        return self._event("response.output_text.delta", **self._place(), delta=text, logprobs=[])

    def end(self, answer: AnswerOut) -> bytes:
        """The annotations, then everything once more, whole."""
        whole = response_of(answer) | {"id": self._id}
        whole["output"][0]["id"] = _item(self._id)
        [part] = whole["output"][0]["content"]
        events = [
            self._event("response.output_text.annotation.added", **self._place(), annotation_index=place, annotation=annotation)
            for place, annotation in enumerate(part["annotations"])
        ]
        events += [
            self._event("response.output_text.done", **self._place(), text=answer.answer, logprobs=[]),
            self._event("response.content_part.done", **self._place(), part=part),
            self._event("response.output_item.done", output_index=0, item=whole["output"][0]),
            self._event("response.completed", response=whole),
        ]
        return b"".join(events)

    def failed(self, problem: Problem) -> bytes:
        """An error as their clients know it."""
        return self._event("error", message=problem.detail, code=problem.kind, param=None)

    def _place(self) -> dict[str, Any]:
        return {"item_id": _item(self._id), "output_index": 0, "content_index": 0}

    def _event(self, kind: str, **facts: Any) -> bytes:
        self._count += 1
        return b"event: %s\n" % kind.encode() + _data({"type": kind, "sequence_number": self._count - 1, **facts})


def _response_frame(ident: str, status: str) -> dict[str, Any]:
    return {
        "id": ident,
        "object": "response",
        "created_at": int(time.time()),
        "status": status,
        "model": MODEL,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "parallel_tool_calls": False,
        "temperature": None,
        "tool_choice": "none",
        "tools": [],
        "top_p": None,
    }


def _output(answer: AnswerOut) -> dict[str, Any]:
    annotations = [{"type": "url_citation", **place} for place in _places(answer)]
    content = [{"type": "output_text", "text": answer.answer, "annotations": annotations, "logprobs": []}]
    return {"type": "message", "id": _item(f"resp_{answer.trace_id}"), "role": "assistant", "status": "completed", "content": content}


def _item(response_id: str) -> str:
    return f"msg_{response_id.partition('_')[2]}"


def _chat_annotations(answer: AnswerOut) -> list[dict[str, Any]]:
    return [{"type": "url_citation", "url_citation": place} for place in _places(answer)]


def _places(answer: AnswerOut) -> list[dict[str, Any]]:
    """Where in the answer each citation stands, and what it points to."""
    cited = {citation.marker: citation for citation in answer.citations}
    return [
        {
            "start_index": match.start(),
            "end_index": match.end(),
            "url": _url(cited[int(match[1])]),
            "title": _title(cited[int(match[1])]),
        }
        for match in MARKER.finditer(answer.answer)
        if int(match[1]) in cited
    ]


def _title(citation: CitationOut) -> str:
    """A document's title, and whether it is one that does not hold (any more): these clients show nothing else of it."""
    return citation.title if citation.status in ("", "current") else f"{citation.title} ({citation.status})"


def _url(citation: CitationOut) -> str:
    """The address at which the cited characters can be read."""
    return f"/v1/documents/{quote(citation.document, safe='/')}/text?start={citation.start}&end={citation.end}"


def _finish(answer: AnswerOut) -> str:
    return "length" if answer.truncated else "stop"


def _chat_usage(answer: AnswerOut) -> dict[str, int]:
    read, written = answer.usage.input_tokens, answer.usage.output_tokens
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}


def _extra(answer: AnswerOut) -> dict[str, Any]:
    """What our own answer tells beside the text."""
    shown = ("question", "citations", "refused", "degraded", "warnings", "cached", "usage", "milliseconds", "release", "role", "trace_id")
    return {name: value for name, value in answer.model_dump(mode="json").items() if name in shown}


def _data(value: dict[str, Any]) -> bytes:
    return b"data: %s\n\n" % json_text(value)
