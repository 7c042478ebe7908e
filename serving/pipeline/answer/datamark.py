"""Datamarking: every space of a passage becomes a mark, so that a model sees of each word whether a document says it."""

from typing import Final

MARK: Final = "ˆ"
_OWN: Final = "^"  # what a document's own marks become


def datamarked(text: str) -> str:
    """The text with a mark for every space; line ends stay, for they shape tables and lists."""
    return text.replace(MARK, _OWN).replace(" ", MARK)


def unmarked(text: str) -> str:
    """A text that quotes marked passages, as a reader wants it."""
    return text.replace(MARK, " ")
