"""Facts from the rows of tables: what stands under a heading for a row."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from harness.golden.case import Kind
from harness.golden.synth.facts import Fact
from harness.golden.synth.wording import CODE
from serving.pipeline.types import Document

CELL_WORDS = 8
MOST_ROWS = 200
RULE = re.compile(r"[\s|:-]+")
NOTHING = frozenset({"", "-", "–", "—", "n/a", "none", "yes", "no", "x", "all"})
MEANS = frozenset({"meaning", "description", "stands for"})
NUMBER = re.compile(r"(?P<number>\d{1,3}(?:,\d{3})+|\d+(?:\.\d+)?)(?P<unit>(?: ?[A-Za-z%/°²³-]+(?: [A-Za-z%/°²³-]+){0,2})?)")


@dataclass(frozen=True, slots=True)
class FactRow:
    """One row: its cells by heading, and the line it is."""

    key: str
    cells: tuple[tuple[str, str], ...]  # heading, value
    line: str
    start: int
    key_heading: str
    table: int  # where the table starts in the document


def rows(document: Document) -> Iterator[FactRow]:
    """The rows of every table with a line of headings, those whose first cell names them and stands once in its table."""
    for table in _tables(document.text):
        head = _cells(table[0][1])
        body = [(start, line) for start, line in table[1 : MOST_ROWS + 1] if not RULE.fullmatch(line)]
        keys = Counter(_cells(line)[0] for _, line in body)
        for start, line in body:
            cells = _cells(line)
            bare = line.strip()
            if len(cells) != len(head) or keys[cells[0]] > 1 or not _is_descriptive(cells[0]) or document.text.count(bare) != 1:
                continue
            named = [(heading, value) for heading, value in zip(head[1:], cells[1:], strict=True) if _is_informative(heading)]
            yield FactRow(cells[0], tuple(named), bare, start + line.index(bare), head[0], table[0][0])


def row_facts(document: Document, named: str) -> Iterator[Fact]:
    """A fact for each cell that says something."""
    for row in rows(document):
        for heading, value in row.cells:
            if not _is_informative(value):
                continue
            means = heading.casefold() in MEANS
            stem = f'what does "{row.key}" mean' if means else f'what is listed under "{heading}" for "{row.key}"'
            stem = f'what value is given for "{row.key}"' if heading.casefold() == "value" else stem
            kind: Kind = "exact-code" if CODE.fullmatch(row.key) or CODE.fullmatch(value) else "factoid"
            answer = f'"{row.key}" means: {value}.' if means else f"{heading} for {row.key}: {value}."
            yield Fact(document, named, stem, value, answer, row.line, row.start, "meaning" if means else "cell", kind, row.key, heading)


def numeric_pairs(document: Document) -> Iterator[tuple[FactRow, FactRow, str, str, str]]:
    """Neighbouring rows of one table whose cells under a heading are unlike numbers of one unit: both rows, the heading, both cells."""
    known = list(rows(document))
    for first, second in pairwise(known):
        if first.table != second.table or "(" in first.key + second.key:  # units beside the names: figures of different things
            continue
        for (heading, left), (_, right) in zip(first.cells, second.cells, strict=False):
            first_number, second_number = NUMBER.fullmatch(left), NUMBER.fullmatch(right)
            if (
                first_number
                and second_number
                and first_number["unit"] == second_number["unit"]
                and leading_number(left) != leading_number(right)
                and not _year(left)
                and not _year(right)
            ):
                yield first, second, heading, left, right


def leading_number(cell: str) -> float:
    """The number that a cell starts with."""
    match = NUMBER.match(cell)
    return float(match["number"].replace(",", "")) if match else 0.0


def _year(cell: str) -> bool:
    return re.fullmatch(r"(?:19|20)\d{2}", cell) is not None


def _is_descriptive(cell: str) -> bool:
    """Whether a row's first cell says by itself what the row is about; a running number does not."""
    return _is_informative(cell) and not re.fullmatch(r"[\d.,]{1,4}", cell)


def _is_informative(cell: str) -> bool:
    """Whether a cell is short and says something by itself."""
    bare = cell.strip()
    return bare.casefold() not in NOTHING and len(bare.split()) <= CELL_WORDS and not re.search(r'["\[\]<>{}*`]', bare)


def _cells(line: str) -> list[str]:
    return [" ".join(cell.split()) for cell in line.strip().removeprefix("|").removesuffix("|").split("|")]


def _tables(text: str) -> Iterator[list[tuple[int, str]]]:
    """Runs of lines with bars between cells, three at least: heading, rule or row, row; each line with its place."""
    table: list[tuple[int, str]] = []
    start = 0
    for line in [*text.split("\n"), ""]:
        if "|" in line.strip().strip("|"):
            table.append((start, line))
        else:
            if len(table) >= 3:
                yield table
            table = []
        start += len(line) + 1
