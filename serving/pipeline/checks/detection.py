"""A detection in a text, and masking of detections."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Detection:
    """One detection: `text[start:end] == value`, with the confidence of the detector from 0 to 1."""

    kind: str
    value: str
    start: int
    end: int
    score: float


def masked(text: str, detections: Sequence[Detection], name: Callable[[Detection], str] | None = None) -> str:
    """The text with each detection replaced by its kind, as in `<EMAIL_ADDRESS>`, or by its name; those that overlap together."""
    parts: list[str] = []
    position = 0
    for detection in sorted(detections, key=lambda detection: (detection.start, -detection.end)):
        if detection.start >= position:
            parts += [text[position : detection.start], name(detection) if name else f"<{detection.kind}>"]
        position = max(position, detection.end)
    return "".join([*parts, text[position:]])
