"""Runs detectors with a limited input size over texts of any length, in overlapping windows."""

import threading
from asyncio import CancelledError
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Final

from serving.pipeline.checks.detection import Detection
from serving.pipeline.models.threads import run_in_thread

SHORT: Final = 1_000  # characters that are checked faster than a thread is started
Finder = Callable[[str], Sequence[Detection]]


def windows(text: str, size: int, overlap: int) -> Iterator[tuple[int, str]]:
    """Pieces of a text with where each begins; what is no longer than the overlap is whole in one of them."""
    for start in range(0, max(len(text) - overlap, 1), size - overlap):
        yield start, text[start : start + size]


def find_everywhere(text: str, find: Finder, size: int, overlap: int, *, stopped: threading.Event | None = None) -> list[Detection]:
    """A detector's matches in all windows of a text, without repeats; ends early once `stopped`."""
    found: dict[Detection, None] = {}
    for start, window in windows(text, size, overlap):
        if stopped is not None and stopped.is_set():
            break
        found |= {replace(one, start=one.start + start, end=one.end + start): None for one in find(window)}
    return list(found)


async def find_in_thread(text: str, find: Finder, size: int, overlap: int) -> list[Detection]:
    """The same, in a thread where the text is long; when it is cancelled, the work ends after the current window."""
    if len(text) <= SHORT:
        return find_everywhere(text, find, size, overlap)
    stopped = threading.Event()
    try:
        return await run_in_thread(lambda: find_everywhere(text, find, size, overlap, stopped=stopped))
    except CancelledError:
        stopped.set()
        raise
