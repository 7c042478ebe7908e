"""OpenAI's responses API: the whole answer, and its events."""

import json
import time
from typing import Any

from serving.app.compatible.openai_fields import MODEL, data_event, extra_fields, url_citations
from serving.app.core.problems import Problem
from serving.app.query.wire import AnswerOut


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
        "metadata": {"touchstone": json.dumps(extra_fields(answer))},
    }


class ResponsesFormat:
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
        return b"event: %s\n" % kind.encode() + data_event({"type": kind, "sequence_number": self._count - 1, **facts})


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
    annotations = [{"type": "url_citation", **place} for place in url_citations(answer)]
    content = [{"type": "output_text", "text": answer.answer, "annotations": annotations, "logprobs": []}]
    return {"type": "message", "id": _item(f"resp_{answer.trace_id}"), "role": "assistant", "status": "completed", "content": content}


def _item(response_id: str) -> str:
    return f"msg_{response_id.partition('_')[2]}"
