"""A chat model's answer in a given shape: by the model's own structured output, or as JSON where it has none."""

import json
from dataclasses import dataclass
from typing import Any, TypeVar

from langchain_core.language_models import BaseChatModel
from pydantic import BaseModel, ValidationError

M = TypeVar("M", bound=BaseModel)

TRIES = 2  # a judge that answers twice in no shape will not at the third time
SHOWN = 200  # characters of its words in a reason


class Unreadable(Exception):
    """The model answered, and its words do not fit the shape: nothing was scored."""


@dataclass(frozen=True, slots=True)
class _Words:
    """What a model said, and what it comes to in the wanted shape."""

    text: str
    parsed: BaseModel | None


async def ask_for(model: BaseChatModel, prompt: str, shape: type[M]) -> M:
    """The model's answer; an outage raises what the model raises, words without the shape raise `Unreadable` after a second try."""
    structured = _structured(model, shape)
    said = ""
    for _ in range(TRIES):
        words = _called(await structured.ainvoke(prompt)) if structured else _written(await model.ainvoke(_in_json(prompt, shape)), shape)
        if isinstance(words.parsed, shape) and not _hollow(words.parsed):
            return words.parsed
        said = words.text
    raise Unreadable(f"the judge model's answer is not a {shape.__name__}: {said[:SHOWN]!r}")


def _structured(model: BaseChatModel, shape: type[BaseModel]) -> Any:
    """The model bound to the shape; `None` for one that cannot be made to call a tool."""
    try:
        return model.with_structured_output(shape, include_raw=True)
    except (NotImplementedError, ValueError):
        return None


def _called(answer: Any) -> _Words:
    return _Words(str(answer["raw"].text), answer["parsed"])


def _in_json(prompt: str, shape: type[BaseModel]) -> str:
    return f"{prompt}\n\nAnswer with one JSON object of this schema and nothing else:\n{json.dumps(shape.model_json_schema())}"


def _written(answer: Any, shape: type[M]) -> _Words:
    """The first JSON object of a text; models like to say a word before it."""
    text = str(answer.text)
    start = text.find("{")
    if start < 0:
        return _Words(text, None)
    try:
        value, _ = json.JSONDecoder().raw_decode(text, start)
        return _Words(text, shape.model_validate(value))
    except (json.JSONDecodeError, ValidationError, RecursionError):
        return _Words(text, None)


def _hollow(answer: BaseModel) -> bool:
    """Whether an answer names nothing at all: libraries would count it as a 0."""
    return any(
        getattr(answer, name) in ([], "") for name, field in type(answer).model_fields.items() if field.is_required() and name != "reason"
    )
