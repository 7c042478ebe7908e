"""Cuts a text into overlapping windows, at the best place there is.

LangChain's splitters are not used: with `add_start_index` they misplace or drop text in about one of six texts with
repeats and runs of white space, and an exact slice is this package's contract.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, Self

from pydantic import model_validator

from serving.pipeline.registry import Params as PlugInParams
from serving.pipeline.text.headings import is_heading

SENTENCE_END = re.compile(r"[.!?…][\"'”’)\]]*(?=\s)|[。！？]")
CLAUSE_END = re.compile(r"[;:,](?=\s)")
SPACE = re.compile(r"\s+")
FRESH_START = re.compile(r"\n\s*|[.!?…][\"'”’)\]]*\s+|[。！？]")
TOKEN = re.compile(r"[぀-ヿ㐀-鿿가-힯]|(?:(?![぀-ヿ㐀-鿿가-힯])\w){1,16}|[^\w\s]")
HEADINGS_IN_A_ROW = 50  # more than these are a list of titles, and cut as text is
ROW_REACH = 4000  # how far a table row is followed to its end


class WindowParams(PlugInParams):
    """How large a window is and how much of the one before it repeats, in the chunker's own unit."""

    size: int
    overlap: int

    @model_validator(mode="after")
    def _overlap_below_size(self) -> Self:
        if self.overlap >= self.size:
            raise ValueError(f"overlap {self.overlap} must be smaller than size {self.size}")
        return self


class LengthUnit(Protocol):
    """Measures a text in the unit of a window's size."""

    def forward(self, position: int, units: int) -> int: ...

    def backward(self, position: int, units: int) -> int: ...


@dataclass(frozen=True, slots=True)
class Characters:
    """Measures in characters."""

    length: int

    def forward(self, position: int, units: int) -> int:
        """The place `units` characters on."""
        return min(position + units, self.length)

    def backward(self, position: int, units: int) -> int:
        """The place `units` characters back."""
        return max(position - units, 0)


class Tokens:
    """Measures in words, marks and CJK characters; a word of more than 16 letters counts as several.

    The rule needs no vocabulary, so that it is the same on every machine; English text has about 1.2 MiniLM tokens to
    one of these.
    """

    def __init__(self, text: str) -> None:
        spans = [match.span() for match in TOKEN.finditer(text)]
        self._starts = [start for start, _ in spans]
        self._ends = [end for _, end in spans]

    def forward(self, position: int, units: int) -> int:
        """The end of the token `units` on from the first one at or after a place."""
        last = min(bisect_left(self._starts, position) + units, len(self._ends)) - 1
        return max(self._ends[last], position) if last >= 0 else position

    def backward(self, position: int, units: int) -> int:
        """The start of the token `units` back."""
        first = max(bisect_left(self._starts, position) - units, 0)
        return min(self._starts[first], position) if self._starts else position


@dataclass(frozen=True, slots=True)
class Cutter:
    """Windows of at most `size` units that share at most `overlap` units with the one before."""

    text: str
    ruler: LengthUnit
    size: int
    overlap: int
    barriers: Sequence[int] = ()  # sorted places that no overlap reaches back across
    soft: bool = True  # prefer the ends of paragraphs, lines, sentences; False: full windows, table rows kept whole

    def windows(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Ranges in order that cover all but white space between two places; starts and ends strictly increase."""
        position, begin = self._skip(start, end), start - 1
        while position < end:
            begin = self._reach_back(position, begin + 1) if begin >= start else position
            stop = self._stop(begin, position, end)
            if begin < position and self._row_start(position, stop) is not None:  # the row may fit without the overlap
                begin = position
                stop = self._stop(begin, position, end)
            yield begin, stop
            position = self._skip(stop, end)

    def _skip(self, position: int, end: int) -> int:
        match = SPACE.match(self.text, position, end)
        return match.end() if match else position

    def _stop(self, begin: int, position: int, end: int) -> int:
        high = min(self.ruler.forward(begin, self.size), end)
        if self._skip(high, end) >= end:
            return high
        stop = self._break(position, high) if self.soft else high
        row = self._row_start(position, stop)
        if row is not None and row > position:
            stop = row
        return self._before_headings(position, stop) if self.soft else stop

    def _break(self, low: int, high: int) -> int:
        """The best place to stop after `low`, not past `high`, that leaves the window at least half full."""
        half = low + (high - low) // 2
        for mark in ("\n\n", "\n"):
            place = self.text.rfind(mark, half, high + len(mark))
            if place > low:
                return place
        for pattern in (SENTENCE_END, CLAUSE_END):
            ends = [match.end() for match in pattern.finditer(self.text, half, high + 1) if low < match.end() <= high]
            if ends:
                return ends[-1]
        spaces = [match.start() for match in SPACE.finditer(self.text, low, high + 1)]
        return spaces[-1] if spaces else high

    def _row_start(self, low: int, place: int) -> int | None:
        """Where the table row starts that a cut at `place` would break, if one would."""
        low = max(low, place - ROW_REACH)
        start = max(self.text.rfind("\n", low, place) + 1, low)
        end = self.text.find("\n", place, place + ROW_REACH)
        end = min(place + ROW_REACH, len(self.text)) if end < 0 else end
        inside = self.text[start:place].strip() and self.text[place:end].strip()
        return start if inside and self.text.count("|", start, end) >= 2 else None

    def _before_headings(self, low: int, stop: int) -> int:
        """A heading goes with what follows it, so a window does not end with one."""
        cut = stop
        for _ in range(HEADINGS_IN_A_ROW):
            last = len(self.text[low:cut].rstrip()) + low
            line = self.text.rfind("\n", low, last) + 1
            if line <= low or not is_heading(self.text[line:last]):
                return cut
            cut = line
        return stop

    def _reach_back(self, position: int, lowest: int) -> int:
        """Where a window whose news starts at `position` begins, so that it shares the end of the one before."""
        barrier = bisect_right(self.barriers, position)
        low = max(self.ruler.backward(position, self.overlap), lowest, self.barriers[barrier - 1] if barrier else 0)
        if low >= position:
            return position
        if not self.soft:
            low = self._skip(low, position)
            return low if self._row_start(0, low) is None else self._next_line(low, position)
        fresh = [low] if low == 0 or self.text[low - 1] == "\n" else []
        fresh += [match.end() for match in FRESH_START.finditer(self.text, low, position)]
        words = [match.end() for match in SPACE.finditer(self.text, low, position)]
        for place in (*fresh, *words):
            place = self._skip(place, position)
            if place < position and self._row_start(0, place) is None:
                return place
        unbroken = not words and not self.text[position - 1].isspace()  # a text without spaces is shared as it comes
        return low if unbroken and self._row_start(0, low) is None else position

    def _next_line(self, low: int, position: int) -> int:
        line = self.text.find("\n", low, position)
        return position if line < 0 else self._skip(line, position)
