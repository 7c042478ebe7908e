"""Detectors look at so many characters; a guard looks at all of them."""

import threading
from asyncio import CancelledError
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Final

from serving.pipeline.checks.detection import Detection
from serving.pipeline.models.threads import run_in_thread

SHORT: Final = 1_000  # characters that are looked at sooner than a thread starts
Finder = Callable[[str], Sequence[Detection]]


def windows(text: str, size: int, overlap: int) -> Iterator[tuple[int, str]]:
    """Pieces of a text with where each begins; what is no longer than the overlap is whole in one of them."""
    for start in range(0, max(len(text) - overlap, 1), size - overlap):
        yield start, text[start : start + size]


def find_everywhere(text: str, find: Finder, size: int, overlap: int, *, stopped: threading.Event | None = None) -> list[Detection]:
    """What a detector finds in each window of a text of any length, each once; nothing more once it is stopped."""
    found: dict[Detection, None] = {}
    for start, window in windows(text, size, overlap):
        if stopped is not None and stopped.is_set():
            break
        found |= {replace(one, start=one.start + start, end=one.end + start): None for one in find(window)}
    return list(found)


async def find_in_thread(text: str, find: Finder, size: int, overlap: int) -> list[Detection]:
    """The same beside the event loop where the text is long; the work ends with the window at hand when nobody waits any more."""
    if len(text) <= SHORT:
        return find_everywhere(text, find, size, overlap)
    stopped = threading.Event()
    try:
        return await run_in_thread(lambda: find_everywhere(text, find, size, overlap, stopped=stopped))
    except CancelledError:
        stopped.set()
        raise
