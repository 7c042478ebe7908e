"""The contract of a loader."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Protocol

from serving.pipeline.errors import RefusedFile
from serving.pipeline.index.loaders.hidden import without_invisible


@dataclass(frozen=True, slots=True)
class LoadedText:
    """A file's text and what the file says about itself."""

    text: str
    title: str = ""
    facts: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))  # front matter: titles, dates, groups


class Loader(Protocol):
    """Turns a file's bytes into its text; the same bytes give the same text until `version` is raised."""

    def load(self, data: bytes, name: str) -> LoadedText:
        """The text, or a `RefusedFile` whose reason is one line."""
        ...


def normal_text(text: str) -> str:
    r"""The text with \n line ends, without NUL and characters that no reader sees, and with lone surrogates replaced."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "").removeprefix("\ufeff")
    return without_invisible(text.encode("utf-8", "replace").decode("utf-8"))


def without_line_ends(text: str) -> str:
    """The text without blanks at the ends of its lines, in one pass over it."""
    return "\n".join(line.rstrip(" \t") for line in text.split("\n"))


def decoded(data: bytes) -> tuple[str, Mapping[str, str]]:
    """The text of bytes in UTF-8 or marked UTF-16, else read as Latin-1, which the facts then say."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        try:
            return normal_text(data.decode("utf-16")), {"encoding": "utf-16"}
        except UnicodeDecodeError:
            return normal_text(data.decode("latin-1")), {"encoding": "latin-1"}
    try:
        return normal_text(data.decode("utf-8-sig")), {}
    except UnicodeDecodeError:
        return normal_text(data.decode("latin-1")), {"encoding": "latin-1"}


def no_binary(data: bytes, name: str) -> None:
    """Refuse bytes that are plainly no text."""
    head = data[:8192]
    if b"\0" in head and not head.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise RefusedFile(name, "is not text (it holds NUL bytes). Give it the suffix of what it is, or take it out of the corpus.")
