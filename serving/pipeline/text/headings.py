"""Finds the headings of a text, and the heading path of an offset."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

LONGEST = 200  # a longer line with a "#" before it is no heading anyone wrote as one


@dataclass(frozen=True, slots=True)
class Heading:
    """One heading line: Markdown's `## Title`, or a title underlined with `===` or `---`."""

    level: int  # 1 is the highest
    start: int
    end: int
    title: str


def headings(text: str) -> list[Heading]:
    """Every heading of a text in order; lines inside fenced code are none."""
    return list(_headings(text))


def first_heading(text: str) -> Heading | None:
    """The first heading of a text; what follows it is not looked at."""
    return next(_headings(text), None)


def _headings(text: str) -> Iterator[Heading]:
    fence = ""
    line_above, title_start = "", -1  # the line above, and where it starts if an underline would make it a title
    for start, line in _lines(text):
        stripped = line.strip()
        if not stripped:
            line_above, title_start = ("", -1) if not fence else (line_above, title_start)
            continue
        if fence:
            fence = "" if stripped.startswith(fence) else fence
            continue
        if stripped.startswith(("```", "~~~")):
            fence, line_above, title_start = stripped[:3], "", -1
            continue
        if level := _level(line):
            yield Heading(level, start, start + len(line), _title(stripped[level:]))
            line_above, title_start = "", -1
            continue
        if title_start >= 0 and len(stripped) >= 3 and set(stripped) in ({"="}, {"-"}):
            yield Heading(1 if stripped[0] == "=" else 2, title_start, start + len(line), _title(line_above))
            line_above, title_start = "", -1
            continue
        title_start = start if stripped and not line_above and len(stripped) <= LONGEST and stripped[0] not in "|-*+>" else -1
        line_above = stripped


class HeadingPath:
    """The heading paths of offsets: in one pass over the headings for offsets that never go back, and again from where one does."""

    def __init__(self, text_headings: Sequence[Heading]) -> None:
        self._headings = text_headings
        self._passed = self._position = 0
        self._path: list[Heading] = []

    def forward(self, position: int) -> str:
        """The path of an offset, outermost first ("Section > Subsection"); cheapest where it is not before the last one."""
        if position < self._position:
            self._passed, self._path = 0, []
        self._position = position
        passed = bisect_right(self._headings, position, lo=self._passed, key=lambda heading: heading.start)
        for heading in self._headings[self._passed : passed]:
            while self._path and self._path[-1].level >= heading.level:
                self._path.pop()
            self._path.append(heading)
        self._passed = passed
        return " > ".join(heading.title for heading in self._path if heading.title)


def is_heading(line: str) -> bool:
    """Whether a line by itself is a heading."""
    return _level(line) > 0


def _level(line: str) -> int:
    bare = line.lstrip(" ")
    level = len(bare) - len(bare.lstrip("#"))
    marked = 1 <= level <= 6 and len(line) - len(bare) <= 3 and bare[level : level + 1] in (" ", "\t")
    return level if marked and len(bare) <= LONGEST and bare[level:].strip() else 0


def _title(raw: str) -> str:
    bare = raw.strip()
    if bare.endswith("#"):  # the closing marks of "## Title ##"
        bare = bare.rstrip("#").rstrip() or bare
    return " ".join(bare.replace("*", "").replace("`", "").split())


def _lines(text: str) -> Iterator[tuple[int, str]]:
    start = 0
    while start <= len(text):
        end = text.find("\n", start)
        end = len(text) if end < 0 else end
        yield start, text[start:end]
        start = end + 1
