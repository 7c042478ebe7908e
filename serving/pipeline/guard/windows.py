"""Detectors look at so many characters; a guard looks at all of them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from serving.pipeline.checks.detection import Detection


def windows(text: str, size: int, overlap: int) -> Iterator[tuple[int, str]]:
    """Pieces of a text with where each begins; what is no longer than the overlap is whole in one of them."""
    for start in range(0, max(len(text) - overlap, 1), size - overlap):
        yield start, text[start : start + size]


def find_everywhere(text: str, find: Callable[[str], Sequence[Detection]], size: int, overlap: int) -> list[Detection]:
    """What a detector finds in each window of a text of any length, each once."""
    found: dict[Detection, None] = {}
    for start, window in windows(text, size, overlap):
        found |= {replace(one, start=one.start + start, end=one.end + start): None for one in find(window)}
    return list(found)
