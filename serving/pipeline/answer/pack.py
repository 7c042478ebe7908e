"""Packs passages into the prompt up to the token budget, numbered and fenced."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from serving.pipeline.answer.datamark import MARK, datamarked
from serving.pipeline.types import Chunk, Hit

_FENCE: Final = re.compile(r"<(?=\s*/?\s*(?:passage|question)\b)", re.IGNORECASE)
_SENTENCE_END: Final = re.compile(r"[.!?][\"')\]]*(?=\s)|\n")
_USEFUL_CHARACTERS: Final = 120  # a shorter piece is not worth its header


@dataclass(frozen=True, slots=True)
class PackedPassages:
    """The passages that fit: their text for the prompt, and their hits as numbered there (a cut one with its shorter chunk)."""

    text: str
    passages: tuple[Hit, ...]
    dropped: int  # hits left out
    truncated: bool = False  # the last passage was cut


def estimate_tokens(text: str) -> int:
    """A cheap count that is the same everywhere: one token per four characters, rounded up (near what English costs)."""
    return -(-len(text) // 4)


def pack_passages(hits: Sequence[Hit], budget: int, *, marked: bool = False) -> PackedPassages:
    """Whole passages in order while they fit; the first that does not is cut at a sentence end if a useful part fits."""
    blocks: list[str] = []
    packed: list[Hit] = []
    remaining = budget
    truncated = False
    for hit in hits:
        block = _block(len(packed) + 1, hit.chunk, marked, hit.read)
        if estimate_tokens(block) <= remaining:
            blocks.append(block)
            packed.append(hit)
            remaining -= estimate_tokens(block)
            continue
        header = estimate_tokens(_block(len(packed) + 1, replace(hit.chunk, text=""), marked))
        cut = _cut(hit.read or hit.chunk.text, (remaining - header) * 4, force=not packed)
        if cut and hit.read:  # no slice of its document: the passage stays whole where it is cited
            blocks.append(_block(len(packed) + 1, hit.chunk, marked, hit.read[:cut]))
            packed.append(hit)
            truncated = True
        elif cut:
            shortened = replace(hit.chunk, text=hit.chunk.text[:cut], end=hit.chunk.start + cut)  # still an exact slice
            blocks.append(_block(len(packed) + 1, shortened, marked))
            packed.append(replace(hit, chunk=shortened))
            truncated = True
        break
    return PackedPassages("\n".join(blocks), tuple(packed), len(hits) - len(packed), truncated)


def fenced(text: str) -> str:
    """The text with look-alikes of our delimiters escaped, so that no passage can end itself or start another."""
    return _FENCE.sub("‹", text)


def _block(number: int, chunk: Chunk, marked: bool, read: str = "") -> str:
    facts = {
        "title": chunk.title,
        "section": chunk.heading,
        "version": chunk.version or chunk.metadata.get("version", ""),
        "effective": chunk.metadata.get("effective", ""),
        "status": chunk.metadata.get("status", ""),
    }
    shown = "".join(f' {key}="{_attribute(value)}"' for key, value in facts.items() if value)
    if marked:
        shown += f' mark="{MARK}"'
    text = fenced((read or chunk.text).strip())
    return f'<passage n="{number}"{shown}>\n{datamarked(text) if marked else text}\n</passage>'


def _attribute(value: str) -> str:
    """A value that cannot leave its quotes or its tag."""
    return " ".join(str(value).split()).replace('"', "'").replace("<", "‹").replace(">", "›")


def _cut(text: str, room: int, *, force: bool) -> int:
    """Where to cut so that at most `room` characters stay, at a sentence end or with `force` at a word's; 0: not at all."""
    if room <= 0:
        return 0
    ends = [match.end() for match in _SENTENCE_END.finditer(text) if match.end() <= room]
    if ends and ends[-1] >= _USEFUL_CHARACTERS:
        return ends[-1]
    if not force:
        return 0
    word_end = text.rfind(" ", 0, room + 1)
    return word_end if word_end > 0 else room
