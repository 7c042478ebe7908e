"""Markdown files: the raw text below the front matter."""

from typing import ClassVar

from serving.pipeline.index.front_matter import split_front_matter
from serving.pipeline.index.loaders.base import LoadedText, decoded, no_binary
from serving.pipeline.index.loaders.hidden import without_comments
from serving.pipeline.registry import Params as PlugInParams
from serving.pipeline.text.headings import first_heading


class MarkdownLoader:
    """The Markdown itself, not rendered, so that what is quoted can be found in the file; only its comments are left out."""

    version: ClassVar[str] = "2"

    class Params(PlugInParams):
        """Nothing to set."""

    def __init__(self, params: Params) -> None:
        self.params = params

    def load(self, data: bytes, name: str) -> LoadedText:
        """The text from the first line that is not blank after the front matter, and the front matter's values as strings."""
        no_binary(data, name)
        text, facts = decoded(data)
        body, front = split_front_matter(text, name)
        body = without_comments(body).lstrip("\n")
        heading = first_heading(body)
        return LoadedText(body, heading.title if heading else "", {**facts, **front})
