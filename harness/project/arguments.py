"""What a method is given, refused in one line where it is of the wrong kind; nothing has been computed by then."""

import re
from collections.abc import Iterable
from os import PathLike
from pathlib import Path
from typing import Any

from serving.pipeline.errors import ConfigError


def whole_number(what: str, value: Any) -> int:
    """A count from 1."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigError(f"{what} is a whole number from 1, not {value!r}.")
    return value


def names(what: str, value: Any) -> tuple[str, ...]:
    """Several names; a single text would be read letter by letter."""
    listed = tuple(value) if isinstance(value, Iterable) and not isinstance(value, str) else (None,)
    if not all(isinstance(one, str) for one in listed):
        raise ConfigError(f"{what} is a list of names, such as ['quality', 'recall@5'], not {value!r}.")
    return listed


def file_path(what: str, value: Any) -> Path:
    """A file or a folder, by its path."""
    if not isinstance(value, str | PathLike) or not str(value):
        raise ConfigError(f"{what} is named by the path of its file, not {repr(value)[:100]}.")
    return Path(value)


def question_text(value: Any) -> str:
    """A question; one that is no text, says nothing or cannot be written down is refused before anyone is asked."""
    if not isinstance(value, str) or not value.strip():
        raise ConfigError(f"A question is a text that asks something, not {repr(value)[:100]}.")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ConfigError(f"The question has a character that is no Unicode text, at {error.start}: {value[error.start]!r}.") from None
    return value


def plain_name(name: Any) -> str:
    """A name as it may stand in a path: one folder, no way out of it."""
    if not isinstance(name, str) or not re.fullmatch(r"[\w.@=+-][\w.@=+ -]{0,119}", name) or set(name) <= {"."}:
        raise ConfigError(f"--name {name!r} becomes a folder's name: use letters, digits and . _ - only, up to 120.")
    return name
