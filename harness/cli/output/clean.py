"""Cleans terminal output: documents, questions and ids are data, so their control characters are removed."""

import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from typing import Any, TextIO, cast

# control characters but line ends and tabs, marks that turn the direction of writing, halves of surrogate pairs
_STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def clean(text: str) -> str:
    """The text with every character that could control a terminal replaced."""
    return _STEERING.sub("\ufffd", text.replace("\r\n", "\n"))


def escaped_json(text: str) -> str:
    """A JSON text in which those characters are escaped, so that its values stay what they are."""
    return _STEERING.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


class CleanStream:
    """A stream that cleans all that is written to it."""

    def __init__(self, stream: TextIO) -> None:
        self.rich_proxied_file = stream  # rich writes its control codes here; our consoles have cleaned the texts between them

    def write(self, text: str) -> int:
        """Write a cleaned text."""
        self.rich_proxied_file.write(clean(text))
        return len(text)

    def writelines(self, texts: Iterable[str]) -> None:
        """Write cleaned texts."""
        for text in texts:
            self.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.rich_proxied_file, name)


@contextmanager
def clean_streams() -> Iterator[None]:
    """Clean standard output and standard error of characters that could control a terminal."""
    with ExitStack() as stack:
        for redirect, stream in ((redirect_stdout, sys.stdout), (redirect_stderr, sys.stderr)):
            if not isinstance(stream, CleanStream):
                stack.enter_context(redirect(cast(TextIO, CleanStream(stream))))
        yield
