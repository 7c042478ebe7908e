"""Cuts passages into what can be said: sentences, list items, table rows, lines of code."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from serving.pipeline.models.reader.brief import Passage
from serving.pipeline.models.reader.tables import Table, TableRow, is_row, parse_table

Kind = Literal["sentence", "item", "row", "code"]

_HEADING: Final = re.compile(r"\s{0,3}(#{1,6})\s+(.*?)\s*#*\s*$")
_BULLET: Final = re.compile(r"\s*(?:[-*•+–]|\(?\d{1,2}[.)]|\(?[a-h][.)])\s+(?=\S)")
_FENCE: Final = re.compile(r"\s*(```|~~~)")
_BOLD_HEADING: Final = re.compile(r"\s*\*\*([^*]{3,80})\*\*:?\s*$")
_STOPS: Final = re.compile(r"[.!?][\"'”’)\]*]*\s+(?=[\"'“(\[*`]*[A-Z0-9])")
_ABBREVIATION: Final = re.compile(
    r"(?:\b(?:e\.g|i\.e|etc|approx|vs|cf|no|nos|dr|mr|mrs|ms|st|inc|ltd|co|corp|art|sec|para|fig|p|pp|ref|ext|tel|max|min|incl|excl)"
    r"|\b[A-Z]|(?:^|\n)\s*\(?\d{1,2})\.\s+$",
    re.IGNORECASE,
)
_LINK: Final = re.compile(r"!?\[([^\]]+)\]\([^)\s]*\)")
_BARE_MARKER: Final = re.compile(r"(?<=[\s.,;])\[\d{1,3}\]|^\[\d{1,3}\]\s*")


@dataclass(frozen=True, slots=True)
class Unit:
    """One thing a passage says, with what the reader must know to understand it."""

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
    found = [unit for passage in passages for unit in _Cutter(passage, headers).cut()]
    return found


class _Cutter:
    """Walks one passage line by line."""

    def __init__(self, passage: Passage, headers: dict[tuple[str, int], tuple[str, ...]]) -> None:
        self._passage = passage
        self._headers = headers
        self._path: list[tuple[int, str]] = []
        self._asked = ""  # the last line that was a question: what follows answers it
        self._lead = ""
        self._block = 0
        self._units: list[Unit] = []

    def cut(self) -> list[Unit]:
        """The passage's units."""
        lines = self._passage.text.split("\n")
        at = 0
        while at < len(lines):
            at = self._take(lines, at)
        return self._units

    def _take(self, lines: list[str], at: int) -> int:
        """Read the block that begins at a line; returns where the next one begins."""
        line = lines[at]
        if not line.strip():
            return at + 1
        heading = _HEADING.match(line)
        bold = _BOLD_HEADING.match(line)
        if heading or bold:
            self._enter(len(heading[1]) if heading else 7, (heading[2] if heading else bold[1] if bold else ""))
            return at + 1
        self._block += 1
        if _FENCE.match(line):
            return self._code(lines, at)
        if is_row(line):
            return self._table(lines, at)
        if _BULLET.match(line):
            return self._list(lines, at)
        return self._paragraph(lines, at)

    def _enter(self, level: int, title: str) -> None:
        self._path = [(depth, name) for depth, name in self._path if depth < level] + [(level, _plain(title))]
        self._asked = self._lead = ""

    def _context(self, *more: str) -> str:
        return " > ".join(part for part in (*(name for _, name in self._path), self._asked, *more) if part)

    def _add(self, text: str, **facts: object) -> None:
        if text:
            self._units.append(Unit(text, self._passage, len(self._units), self._block, **facts))  # type: ignore[arg-type]

    def _code(self, lines: list[str], at: int) -> int:
        end = next((i for i in range(at + 1, len(lines)) if _FENCE.match(lines[i])), len(lines))
        for line in lines[at + 1 : end]:
            self._add(line.strip(), kind="code", context=self._context(self._lead))
        return end + 1

    def _table(self, lines: list[str], at: int) -> int:
        end = at
        while end < len(lines) and (is_row(lines[end]) or (not lines[end].strip() and is_row("".join(lines[end + 1 : end + 2])))):
            end += 1  # some loaders leave a blank line between rows
        table = parse_table([line for line in lines[at:end] if line.strip()], self._passage.title, self._headers)
        for row in table.rows:
            self._add(" | ".join(cell for cell in row.cells if cell), kind="row", context=self._context(self._lead), row=row, table=table)
        return end

    def _list(self, lines: list[str], at: int) -> int:
        items: list[str] = []
        end = at
        while end < len(lines):
            line = lines[end]
            if _BULLET.match(line):
                items.append(_BULLET.sub("", line, count=1).strip())
            elif line.strip() and line[:1].isspace() and items:
                items[-1] += " " + line.strip()
            elif line.strip() or not _goes_on(lines, end):
                break
            end += 1
        plain = tuple(_plain(item) for item in items)
        leader = self._units[-1] if self._units and self._lead and self._units[-1].text == self._lead else None
        if leader is not None:
            self._units[-1] = Unit(leader.text, self._passage, leader.index, leader.block, context=leader.context, items=plain)
        for item in plain:
            context = self._context(self._lead)
            for piece in split_sentences(item):
                self._add(piece, kind="item", context=context)
        return end

    def _paragraph(self, lines: list[str], at: int) -> int:
        end = at
        while end < len(lines) and lines[end].strip() and (end == at or not _begins_other(lines[end])):
            end += 1
        before = ""
        for sentence in split_sentences(_plain(" ".join(line.strip() for line in lines[at:end]))):
            if sentence.endswith("?"):
                self._asked, before = sentence, ""
                continue
            self._add(sentence, context=self._context(), before=before)
            before = sentence
        self._lead = before if before.endswith(":") or _next_is_list(lines, end) else ""
        return end


def split_sentences(text: str) -> list[str]:
    """Sentences of a paragraph; abbreviations, initials and section numbers end none."""
    found: list[str] = []
    start = 0
    for match in _STOPS.finditer(text):
        if text[match.start()] == "." and _ABBREVIATION.search(text[start : match.end()]):
            continue
        found.append(text[start : match.end()].strip())
        start = match.end()
    found.append(text[start:].strip())
    return [sentence for sentence in found if sentence]


def _plain(text: str) -> str:
    """Text without emphasis and link targets, and without footnote marks that would pass for citations."""
    text = _LINK.sub(r"\1", text)
    text = re.sub(r"(\*\*|__)(?=\S)(.+?)(?<=\S)\1", r"\2", text)
    return " ".join(_BARE_MARKER.sub("", text).split())


def _begins_other(line: str) -> bool:
    return bool(_HEADING.match(line) or _BULLET.match(line) or _FENCE.match(line) or _BOLD_HEADING.match(line) or is_row(line))


def _next_is_list(lines: list[str], at: int) -> bool:
    return any(bool(_BULLET.match(line)) for line in _first(line for line in lines[at:] if line.strip()))


def _goes_on(lines: list[str], at: int) -> bool:
    """Whether a blank line stands between two items of one list."""
    return any(bool(_BULLET.match(line)) for line in _first(line for line in lines[at:] if line.strip()))


def _first(lines: Iterator[str]) -> list[str]:
    return [line for line in [next(lines, "")] if line]
