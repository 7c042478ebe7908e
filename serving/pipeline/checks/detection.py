"""A detection in a text, and masking of detections."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Detection:
    """One detection: `text[start:end] == value`, with the confidence of the detector from 0 to 1."""

    kind: str
    value: str
    start: int
    end: int
    score: float


def masked(text: str, detections: Sequence[Detection]) -> str:
    """The text with each detection replaced by its kind, as in `<EMAIL_ADDRESS>`; those that overlap are replaced together."""
    parts: list[str] = []
    position = 0
    for detection in sorted(detections, key=lambda detection: (detection.start, -detection.end)):
        if detection.start >= position:
            parts += [text[position : detection.start], f"<{detection.kind}>"]
        position = max(position, detection.end)
    return "".join([*parts, text[position:]])
