"""Splits passages into units: sentences, list items, table rows, lines of code."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from serving.pipeline.models.reader.prompt_task import Passage
from serving.pipeline.models.reader.tables import Table, TableRow, is_row, parse_table

Kind = Literal["sentence", "item", "row", "code"]

_HEADING: Final = re.compile(r"\A\s{0,3}(#{1,6})\s(.*)\Z")
_BULLET: Final = re.compile(r"\A\s*(?:[-*•+–]|\(?\d{1,2}[.)]|\(?[a-h][.)])\s+(?=\S)")
_FENCE: Final = re.compile(r"\A\s*(```|~~~)")
_BOLD_HEADING: Final = re.compile(r"\A\s*\*\*([^*]{3,80})\*\*:?\s*\Z")
_STOPS: Final = re.compile(r"[.!?][\"'”’)\]*]*\s+(?=[\"'“(\[*`]*[A-Z0-9])")
_ABBREVIATION: Final = re.compile(
    r"(?:\b(?:e\.g|i\.e|etc|approx|vs|cf|no|nos|dr|mr|mrs|ms|st|inc|ltd|co|corp|art|sec|para|fig|p|pp|ref|ext|tel|max|min|incl|excl)"
    r"|\b[A-Z]|(?:\A|\n)\s{0,8}\(?\d{1,2})\.\s{1,8}\Z",
    re.IGNORECASE,
)
_LONGEST_ABBREVIATION: Final = 40  # characters, with the white space after it
_LINK: Final = re.compile(r"!?\[([^\]]{1,300})\]\([^)\s]{0,500}\)")
_EMPHASIS: Final = re.compile(r"(\*\*|__)(?=\S)(.{1,300}?)(?<=\S)\1")
_BARE_MARKER: Final = re.compile(r"(?<=[\s.,;])\[\d{1,3}\]|^\[\d{1,3}\]\s*")


@dataclass(frozen=True, slots=True)
class Unit:
    """One statement of a passage, with its context."""

    text: str
    passage: Passage
    index: int  # its place among the passage's units
    block: int  # units of one paragraph, list or table share it
    kind: Kind = "sentence"
    context: str = ""  # headings above it inside the passage, the question it follows, the sentence that leads its list
    before: str = ""  # the sentence before it in its paragraph
    row: TableRow | None = None
    table: Table | None = field(default=None, repr=False)
    items: tuple[str, ...] = ()  # for a sentence that leads a list: the list

    @property
    def place(self) -> tuple[int, int]:
        """Its position in reading order, the last tie-break everywhere."""
        return self.passage.number, self.index


def units_of(passages: Sequence[Passage]) -> list[Unit]:
    """Every unit of every passage, in reading order; tables cut in two share the header that one part shows."""
    headers: dict[tuple[str, int], tuple[str, ...]] = {}
    return [unit for passage in passages for unit in _PassageParser(passage, headers).units()]


class _PassageParser:
    """Parses one passage line by line."""

    def __init__(self, passage: Passage, headers: dict[tuple[str, int], tuple[str, ...]]) -> None:
        self._passage = passage
        self._headers = headers
        self._path: list[tuple[int, str]] = []
        self._question = ""  # the last line that was a question: what follows answers it
        self._lead_in = ""
        self._block = 0
        self._units: list[Unit] = []

    def units(self) -> list[Unit]:
        """The passage's units."""
        lines = self._passage.text.split("\n")
        start = 0
        while start < len(lines):
            start = self._parse_block(lines, start)
        return self._units

    def _parse_block(self, lines: list[str], start: int) -> int:
        """Read the block that begins at a line; returns where the next one begins."""
        line = lines[start]
        if not line.strip():
            return start + 1
        heading = _HEADING.match(line)
        bold = _BOLD_HEADING.match(line)
        if heading or bold:
            title = heading[2].strip().rstrip("#").rstrip() if heading else bold[1] if bold else ""
            self._enter_heading(len(heading[1]) if heading else 7, title)
            return start + 1
        self._block += 1
        if _FENCE.match(line):
            return self._code(lines, start)
        if is_row(line):
            return self._table(lines, start)
        if _BULLET.match(line):
            return self._list(lines, start)
        return self._paragraph(lines, start)

    def _enter_heading(self, level: int, title: str) -> None:
        self._path = [(depth, name) for depth, name in self._path if depth < level] + [(level, _plain(title))]
        self._question = self._lead_in = ""

    def _context(self, *more: str) -> str:
        return " > ".join(part for part in (*(name for _, name in self._path), self._question, *more) if part)

    def _add_unit(self, text: str, **facts: Any) -> None:
        if text:
            self._units.append(Unit(text, self._passage, len(self._units), self._block, **facts))

    def _code(self, lines: list[str], start: int) -> int:
        end = next((i for i in range(start + 1, len(lines)) if _FENCE.match(lines[i])), len(lines))
        for line in lines[start + 1 : end]:
            self._add_unit(line.strip(), kind="code", context=self._context(self._lead_in))
        return end + 1

    def _table(self, lines: list[str], start: int) -> int:
        end = start
        while end < len(lines) and (is_row(lines[end]) or (not lines[end].strip() and is_row("".join(lines[end + 1 : end + 2])))):
            end += 1  # some loaders leave a blank line between rows
        table = parse_table([line for line in lines[start:end] if line.strip()], self._passage.title, self._headers)
        for row in table.rows:
            self._add_unit(
                " | ".join(cell for cell in row.cells if cell), kind="row", context=self._context(self._lead_in), row=row, table=table
            )
        return end

    def _list(self, lines: list[str], start: int) -> int:
        items: list[str] = []
        end = start
        while end < len(lines):
            line = lines[end]
            if _BULLET.match(line):
                items.append(_BULLET.sub("", line, count=1).strip())
            elif line.strip() and line[:1].isspace() and items:
                items[-1] += " " + line.strip()
            elif line.strip() or not _next_is_list(lines, end):
                break
            end += 1
        plain = tuple(_plain(item) for item in items)
        leader = self._units[-1] if self._units and self._lead_in and self._units[-1].text == self._lead_in else None
        if leader is not None:
            self._units[-1] = Unit(leader.text, self._passage, leader.index, leader.block, context=leader.context, items=plain)
        for item in plain:
            context = self._context(self._lead_in)
            for piece in split_sentences(item):
                self._add_unit(piece, kind="item", context=context)
        return end

    def _paragraph(self, lines: list[str], start: int) -> int:
        end = start
        while end < len(lines) and lines[end].strip() and (end == start or not _begins_other(lines[end])):
            end += 1
        before = ""
        for sentence in split_sentences(_plain(" ".join(line.strip() for line in lines[start:end]))):
            if sentence.endswith("?"):
                self._question, before = sentence, ""
                continue
            self._add_unit(sentence, context=self._context(), before=before)
            before = sentence
        self._lead_in = before if before.endswith(":") or _next_is_list(lines, end) else ""
        return end


def split_sentences(text: str) -> list[str]:
    """Sentences of a paragraph; abbreviations, initials and section numbers end none."""
    parts: list[str] = []
    start = 0
    for match in _STOPS.finditer(text):
        if text[match.start()] == "." and _ABBREVIATION.search(text[max(start, match.end() - _LONGEST_ABBREVIATION) : match.end()]):
            continue
        parts.append(text[start : match.end()].strip())
        start = match.end()
    parts.append(text[start:].strip())
    return [sentence for sentence in parts if sentence]


def _plain(text: str) -> str:
    """Text without emphasis and link targets, and without footnote marks that would pass for citations."""
    text = _LINK.sub(r"\1", text)
    text = _EMPHASIS.sub(r"\2", text)
    return " ".join(_BARE_MARKER.sub("", text).split())


def _begins_other(line: str) -> bool:
    return bool(_HEADING.match(line) or _BULLET.match(line) or _FENCE.match(line) or _BOLD_HEADING.match(line) or is_row(line))


def _next_is_list(lines: list[str], start: int) -> bool:
    """Whether the next line with text is a list item."""
    return bool(_BULLET.match(next((line for line in lines[start:] if line.strip()), "")))
