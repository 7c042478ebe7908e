"""Datamarking: every space of a passage becomes a mark, so that the model can tell the words of a document from instructions."""

from typing import Final

MARK: Final = "ˆ"
_OWN: Final = "^"  # what a document's own marks become


def datamarked(text: str) -> str:
    """The text with a mark for every space; line ends stay, for they shape tables and lists."""
    return text.replace(MARK, _OWN).replace(" ", MARK)


def unmarked(text: str) -> str:
    """The text with the marks turned back into spaces."""
    return text.replace(MARK, " ")
