"""A chat model's answer in a given shape: by the model's own structured output, or as JSON where it has none."""

import json
from dataclasses import dataclass
from typing import Any, TypeVar

from langchain_core.language_models import BaseChatModel
from pydantic import BaseModel, ValidationError

M = TypeVar("M", bound=BaseModel)

TRIES = 2  # a judge that answers twice in no shape will not at the third time
SHOWN = 200  # characters of its words in a reason


class UnreadableReply(Exception):
    """The model answered, and its words do not fit the shape: nothing was scored."""


@dataclass(frozen=True, slots=True)
class _StructuredReply:
    """What a model said, and what it comes to in the wanted shape."""

    text: str
    parsed: BaseModel | None


async def ask_for(model: BaseChatModel, prompt: str, shape: type[M]) -> M:
    """The model's answer; an outage raises what the model raises, words without the shape raise `UnreadableReply` after a second try."""
    structured = _structured(model, shape)
    text = ""
    for _ in range(TRIES):
        if structured:
            reply = _from_tool_call(await structured.ainvoke(prompt))
        else:
            reply = _from_text(await model.ainvoke(_json_prompt(prompt, shape)), shape)
        if isinstance(reply.parsed, shape) and not _is_empty(reply.parsed):
            return reply.parsed
        text = reply.text
    raise UnreadableReply(f"the judge model's answer is not a {shape.__name__}: {text[:SHOWN]!r}")


def _structured(model: BaseChatModel, shape: type[BaseModel]) -> Any:
    """The model bound to the shape; `None` for one that cannot be made to call a tool."""
    try:
        return model.with_structured_output(shape, include_raw=True)
    except (NotImplementedError, ValueError):
        return None


def _from_tool_call(answer: Any) -> _StructuredReply:
    return _StructuredReply(str(answer["raw"].text), answer["parsed"])


def _json_prompt(prompt: str, shape: type[BaseModel]) -> str:
    return f"{prompt}\n\nAnswer with one JSON object of this schema and nothing else:\n{json.dumps(shape.model_json_schema())}"


def _from_text(answer: Any, shape: type[M]) -> _StructuredReply:
    """The first JSON object of a text; models like to say a word before it."""
    text = str(answer.text)
    start = text.find("{")
    if start < 0:
        return _StructuredReply(text, None)
    try:
        value, _ = json.JSONDecoder().raw_decode(text, start)
        return _StructuredReply(text, shape.model_validate(value))
    except (json.JSONDecodeError, ValidationError, RecursionError):
        return _StructuredReply(text, None)


def _is_empty(answer: BaseModel) -> bool:
    """Whether an answer names nothing at all: libraries would count it as a 0."""
    return any(
        getattr(answer, name) in ([], "") for name, field in type(answer).model_fields.items() if field.is_required() and name != "reason"
    )
