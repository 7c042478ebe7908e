"""What a detector found in a text, and the text without it."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Detection:
    """One thing found: `text[start:end] == value`, and how sure the detector is, from 0 to 1."""

    kind: str
    value: str
    start: int
    end: int
    score: float


def masked(text: str, found: Sequence[Detection]) -> str:
    """The text with each detection replaced by its kind, as in `<EMAIL_ADDRESS>`; those that overlap are replaced together."""
    parts: list[str] = []
    position = 0
    for one in sorted(found, key=lambda one: (one.start, -one.end)):
        if one.start >= position:
            parts += [text[position : one.start], f"<{one.kind}>"]
        position = max(position, one.end)
    return "".join([*parts, text[position:]])
