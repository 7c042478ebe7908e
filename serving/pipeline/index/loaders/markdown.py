"""Markdown files: the raw text below the front matter."""

from collections.abc import Mapping
from typing import Any, ClassVar

import yaml

from serving.pipeline.errors import DataError
from serving.pipeline.index.headings import headings
from serving.pipeline.index.loaders.base import LoadedText, decoded, no_binary
from serving.pipeline.registry import Params as PlugInParams


class MarkdownLoader:
    """The Markdown itself, not rendered, so that what is quoted can be found in the file."""

    version: ClassVar[str] = "1"

    class Params(PlugInParams):
        """Nothing to set."""

    def __init__(self, params: Params) -> None:
        self.params = params

    def load(self, data: bytes, name: str) -> LoadedText:
        """The text from the first line that is not blank after the front matter, and the front matter's values as strings."""
        no_binary(data, name)
        text, facts = decoded(data)
        body, front = split_front_matter(text, name)
        body_headings = headings(body)
        return LoadedText(body, body_headings[0].title if body_headings else "", {**facts, **front})


def split_front_matter(text: str, name: str) -> tuple[str, Mapping[str, Any]]:
    """The text without its front matter, and the front matter; a text without any is returned whole."""
    lines = text.split("\n")
    if lines[0].rstrip() != "---":
        return text, {}
    last = next((number for number, line in enumerate(lines[1:], 1) if line.rstrip() == "---"), None)
    if last is None:
        return text, {}
    return "\n".join(lines[last + 1 :]).lstrip("\n"), mapping("\n".join(lines[1:last]), name, first_line=2)


def mapping(text: str, name: str, first_line: int = 1) -> Mapping[str, Any]:
    """A YAML mapping whose scalars are all strings as written, so that 1.10 and 2026-03-01 stay what they look like."""
    try:
        data = yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506  BaseLoader makes strings, lists and mappings only
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = first_line + (mark.line if mark else 0)
        raise DataError(f"{name}:{line}: not YAML: {getattr(error, 'problem', None) or error}") from None
    except RecursionError:
        raise DataError(f"{name}:{first_line}: not YAML: nested too deeply") from None
    if data in (None, ""):
        return {}
    if not isinstance(data, dict) or not all(isinstance(key, str) for key in data):
        raise DataError(f"{name}:{first_line}: `key: value` lines are needed, not {str(data)[:80]!r}.")
    return data
