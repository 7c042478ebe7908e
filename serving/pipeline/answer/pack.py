"""Puts as many passages into the prompt as the budget holds, numbered and fenced."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from serving.pipeline.types import Chunk, Hit

_FENCE: Final = re.compile(r"<(?=\s*/?\s*(?:passage|question)\b)", re.IGNORECASE)
_SENTENCE_END: Final = re.compile(r"[.!?][\"')\]]*(?=\s)|\n")
_USEFUL_CHARACTERS: Final = 120  # a shorter piece of a passage says too little to be worth its header


@dataclass(frozen=True, slots=True)
class Packed:
    """What fits: the text for the prompt, and the hits in it as numbered there (a cut one with its shorter chunk)."""

    text: str
    passages: tuple[Hit, ...]
    dropped: int  # hits left out
    truncated: bool = False  # the last passage was cut


def estimate_tokens(text: str) -> int:
    """A cheap count that is the same everywhere: one token per four characters, rounded up (near what English costs)."""
    return -(-len(text) // 4)


def pack(hits: Sequence[Hit], budget: int) -> Packed:
    """Whole passages in order while they fit; the first that does not is cut at a sentence end if a useful part fits."""
    blocks: list[str] = []
    kept: list[Hit] = []
    left = budget
    truncated = False
    for hit in hits:
        block = _block(len(kept) + 1, hit.chunk)
        if estimate_tokens(block) <= left:
            blocks.append(block)
            kept.append(hit)
            left -= estimate_tokens(block)
            continue
        frame = estimate_tokens(_block(len(kept) + 1, replace(hit.chunk, text="")))
        cut = _cut(hit.chunk.text, (left - frame) * 4, force=not kept)
        if cut:
            short = replace(hit.chunk, text=hit.chunk.text[:cut], end=hit.chunk.start + cut)  # still an exact slice
            blocks.append(_block(len(kept) + 1, short))
            kept.append(replace(hit, chunk=short))
            truncated = True
        break
    return Packed("\n".join(blocks), tuple(kept), len(hits) - len(kept), truncated)


def fenced(text: str) -> str:
    """The text with every look-alike of our own fences made harmless, so that no passage can end itself or start another."""
    return _FENCE.sub("‹", text)


def _block(number: int, chunk: Chunk) -> str:
    facts = {
        "title": chunk.title,
        "section": chunk.heading,
        "version": chunk.version or chunk.metadata.get("version", ""),
        "effective": chunk.metadata.get("effective", ""),
        "status": chunk.metadata.get("status", ""),
    }
    shown = "".join(f' {key}="{_attribute(value)}"' for key, value in facts.items() if value)
    return f'<passage n="{number}"{shown}>\n{fenced(chunk.text.strip())}\n</passage>'


def _attribute(value: str) -> str:
    """A value that cannot leave its quotes or its tag."""
    return " ".join(str(value).split()).replace('"', "'").replace("<", "‹").replace(">", "›")


def _cut(text: str, room: int, *, force: bool) -> int:
    """Where to cut so that at most `room` characters stay: 0 for not at all; `force` takes a word's end for want of a sentence's."""
    if room <= 0:
        return 0
    ends = [match.end() for match in _SENTENCE_END.finditer(text) if match.end() <= room]
    if ends and ends[-1] >= _USEFUL_CHARACTERS:
        return ends[-1]
    if not force:
        return 0
    word_end = text.rfind(" ", 0, room + 1)
    return word_end if word_end > 0 else room
