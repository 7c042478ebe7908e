"""Where a text's headings are, and which of them stand above a place."""

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
    found: list[Heading] = []
    fence = ""
    before, candidate = "", -1  # the line above, and where it starts if an underline would make it a title
    for start, line in _lines(text):
        bare = line.strip()
        if fence:
            fence = "" if bare.startswith(fence) else fence
            continue
        if bare.startswith(("```", "~~~")):
            fence, before, candidate = bare[:3], "", -1
            continue
        if level := _level(line):
            found.append(Heading(level, start, start + len(line), _title(bare[level:])))
            before, candidate = "", -1
            continue
        if candidate >= 0 and len(bare) >= 3 and set(bare) in ({"="}, {"-"}):
            found.append(Heading(1 if bare[0] == "=" else 2, candidate, start + len(line), _title(before)))
            before, candidate = "", -1
            continue
        candidate = start if bare and not before and len(bare) <= LONGEST and bare[0] not in "|-*+>" else -1
        before = bare
    return found


def path_at(found: Sequence[Heading], position: int) -> str:
    """The titles above a place, outermost first: "Section > Subsection"."""
    path: list[Heading] = []
    for heading in found[: bisect_right(found, position, key=lambda heading: heading.start)]:
        while path and path[-1].level >= heading.level:
            path.pop()
        path.append(heading)
    return " > ".join(heading.title for heading in path if heading.title)


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
