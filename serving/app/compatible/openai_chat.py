"""OpenAI's chat completions: the whole answer, and its stream."""

import time
from typing import Any

from serving.app.compatible.openai_fields import MODEL, data_event, extra_fields, url_citations
from serving.app.core.problems import Problem
from serving.app.query.wire import AnswerOut


def completion(answer: AnswerOut) -> dict[str, Any]:
    """A chat completion."""
    message = {"role": "assistant", "content": answer.answer, "refusal": None, "annotations": _annotations(answer)}
    return {
        "id": f"chatcmpl-{answer.trace_id}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": MODEL,
        "choices": [{"index": 0, "message": message, "finish_reason": _finish(answer), "logprobs": None}],
        "usage": _usage(answer),
        "touchstone": extra_fields(answer),
    }


class ChatCompletionsFormat:
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
        annotated = self._chunk({"annotations": _annotations(answer)}) if answer.citations else b""
        last = self._chunk({}, finish=_finish(answer), touchstone=extra_fields(answer))
        usage = data_event({**self._frame(), "choices": [], "usage": _usage(answer)}) if self._with_usage else b""
        return annotated + last + usage + b"data: [DONE]\n\n"

    def failed(self, problem: Problem) -> bytes:
        """An error as their clients know it."""
        return data_event({"error": {"message": problem.detail, "type": problem.kind, "code": problem.status}})

    def _frame(self) -> dict[str, Any]:
        return {"id": self._id, "object": "chat.completion.chunk", "created": self._created, "model": MODEL}

    def _chunk(self, delta: dict[str, Any], finish: str | None = None, **more: Any) -> bytes:
        return data_event({**self._frame(), "choices": [{"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}], **more})


def _annotations(answer: AnswerOut) -> list[dict[str, Any]]:
    return [{"type": "url_citation", "url_citation": place} for place in url_citations(answer)]


def _finish(answer: AnswerOut) -> str:
    return "length" if answer.truncated else "stop"


def _usage(answer: AnswerOut) -> dict[str, int]:
    read, written = answer.usage.input_tokens, answer.usage.output_tokens
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}
