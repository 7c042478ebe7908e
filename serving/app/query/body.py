"""Parses the body of a question strictly: what parsers could read differently is refused."""

import json
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError

from serving.app.core.problems import invalid, not_json, not_json_type

M = TypeVar("M", bound=BaseModel)


def read_body(request: Request, model: type[M]) -> M:
    """The message in a request's body."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
        raise not_json_type()
    try:
        data = json.loads(request.state.body.decode(), object_pairs_hook=_object, parse_constant=_no_number)
    except json.JSONDecodeError as error:
        raise not_json(f"{error.msg[0].lower()}{error.msg[1:]} at character {error.pos}") from None
    except UnicodeDecodeError:
        raise not_json("it is not UTF-8") from None
    except RecursionError:
        raise not_json("it is nested too deeply") from None
    except ValueError as error:  # of the two below, or a number of too many digits
        raise not_json(str(error) if type(error) is not ValueError else "a number has too many digits") from None
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise invalid(error.errors(include_url=False, include_input=False)) from None


class _Ambiguous(ValueError):
    """A text that parsers read in different ways."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; of a key that comes twice, one parser takes the first and another the last."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _Ambiguous("an object has a key twice")
    return found


def _no_number(word: str) -> None:
    raise _Ambiguous(f"{word} is no number")
