"""Parses the citations of an answer."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from serving.pipeline.types import Citation, Hit

_CODE: Final = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`", re.DOTALL)
_MARKER: Final = re.compile(r"\[\s*(\d{1,3}(?:\s*[,;–-]\s*\d{1,3})*)\s*\]")
_WORD_BEFORE: Final = re.compile(r"[A-Za-z_]\w{0,40}\Z")
_NAME_BEFORE: Final = re.compile(r"_\w{0,40}\Z|\w\.\w{1,40}\Z")
_ENDS: Final = re.compile(r"[.!?,;:)]|\s*\Z|\s*\n|\[")


@dataclass(frozen=True, slots=True)
class ParsedCitations:
    """The passages that an answer cites, each once in order of first mention, and the number of markers that match no passage."""

    citations: tuple[Citation, ...]
    dangling: int = 0


def parse_citations(text: str, passages: Sequence[Hit]) -> ParsedCitations:
    """Citations `[1]`, `[1, 2]`, `[1-3]`, `[1][2]` of an answer over the passages numbered from 1."""
    citations: dict[int, Citation] = {}
    dangling = 0
    for marker in markers(text):
        if 1 <= marker <= len(passages):
            chunk = passages[marker - 1].chunk
            citations.setdefault(marker, Citation(marker, chunk.id, chunk.span))
        else:
            dangling += 1
    return ParsedCitations(tuple(citations.values()), dangling)


@dataclass(frozen=True, slots=True)
class MarkerSpan:
    """The span of a citation marker, and the numbers in it."""

    start: int
    end: int
    numbers: tuple[int, ...]


def markers(text: str) -> list[int]:
    """Every cited number, in order and with repeats; brackets of code, arrays and links are not citations."""
    return [number for span in marker_spans(text) for number in span.numbers]


def marker_spans(text: str) -> list[MarkerSpan]:
    """Every citation marker, in order."""
    prose = without_code(text)
    found = (match for match in _MARKER.finditer(prose) if _is_citation(prose, match))
    return [MarkerSpan(match.start(), match.end(), tuple(_numbers(match[1]))) for match in found]


def without_code(text: str) -> str:
    """The text with code replaced by blanks of equal length, so that offsets stay."""
    return _CODE.sub(lambda match: " " * len(match[0]), text)


def _is_citation(text: str, match: re.Match[str]) -> bool:
    before, after = text[max(0, match.start() - 40) : match.start()], text[match.end() : match.end() + 40]  # a window, for long texts
    if after.startswith("("):  # a Markdown link
        return False
    if _WORD_BEFORE.search(before):  # `items[1]` is an array, `28 days[1].` is a citation: look at what follows
        return bool(_ENDS.match(after)) and not _NAME_BEFORE.search(before)
    return not before.endswith(("=", "\\"))


def _numbers(inside: str) -> list[int]:
    numbers: list[int] = []
    for part in re.split(r"[,;]", inside):
        first, *rest = [int(number) for number in re.split(r"[–-]", part)]
        last = rest[-1] if rest else first
        numbers += range(first, last + 1) if first <= last <= first + 20 else [first, last]
    return numbers
