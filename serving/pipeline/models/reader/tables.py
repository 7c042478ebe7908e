"""Tables in passages: parsing, cells with their headers, amounts."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

_RULE: Final = re.compile(r"\s*\|?\s*:?-{2,}:?\s*(?:\|\s*:?-{2,}:?\s*)*\|?\s*$")
_AMOUNT: Final = re.compile(r"(?P<before>[€$£]|[A-Z]{3})?\s?(?P<number>\d[\d,]*(?:\.\d+)?)\s?(?P<unit>%|[A-Za-z€]{1,12})?")
_PLACEHOLDERS: Final = ("", "-", "–", "—", "n/a", "none")
_BOUND: Final = re.compile(r"(?:up to|above|below|over|from|under|at least|at most)\b|\d[\d,.]*\s?%?$", re.IGNORECASE)
_DAYS: Final = {"minute": 1 / 1440, "hour": 1 / 24, "day": 1.0, "week": 7.0, "month": 30.0, "quarter": 91.0, "year": 365.0}


@dataclass(frozen=True, slots=True)
class TableRow:
    """One row's cells under their headers; headers may be empty where the passage shows none."""

    header: tuple[str, ...]
    cells: tuple[str, ...]

    def in_words(self, columns: Sequence[int], labels: Sequence[int]) -> str:
        """The row in words: "TG-4410B: List price 2026 = EUR 1,240; Lead time = 3 weeks."."""
        label = ", ".join(self._label(column) for column in labels if self.cells[column])
        said = [self._cell(column) for column in columns if column not in labels and self.cells[column] not in _PLACEHOLDERS]
        body = "; ".join(said)
        return f"{label}: {body}" if label and body else label or body

    def under(self, column: int) -> str:
        """A cell followed by its header's words, so that "25" below "Days per year" shows 25 days."""
        name = self.header[column] if column < len(self.header) else ""
        return f"{self.cells[column]} {name}".strip()

    def _label(self, column: int) -> str:
        """The cell; with its header where it is a bound or a number that says nothing alone."""
        return self._cell(column) if _BOUND.match(self.cells[column]) else self.cells[column]

    def _cell(self, column: int) -> str:
        name = self.header[column] if column < len(self.header) else ""
        return f"{name} = {self.cells[column]}" if name else self.cells[column]


@dataclass(frozen=True, slots=True)
class Table:
    """The rows of one table as far as the passage shows them."""

    header: tuple[str, ...]
    rows: tuple[TableRow, ...]

    def column(self, index: int) -> list[str]:
        """One column's cells, top to bottom."""
        return [row.cells[index] for row in self.rows]


def is_row(line: str) -> bool:
    """Whether a line is a table's: it begins with a bar, or has a bar between spaces."""
    stripped = line.strip()
    return (stripped.startswith("|") and stripped.count("|") > 1) or " | " in stripped


def parse_table(lines: Sequence[str], title: str, headers: dict[tuple[str, int], tuple[str, ...]]) -> Table:
    """A table of lines; one that begins below its header takes that of another table of the document as wide as it."""
    grid = [_cells(line) for line in lines]
    ruled = len(lines) > 1 and bool(_RULE.match(lines[1]))
    width = max(len(cells) for cells in grid)
    header: tuple[str, ...] = ()
    body = [cells for cells, line in zip(grid, lines, strict=True) if not _RULE.match(line)]
    looks_like_one = len(body) > 1 and not any(map(_number, body[0])) and any(_number(cell) for cells in body[1:] for cell in cells)
    if ruled or looks_like_one:
        header, body = tuple(body[0]), body[1:]
        headers[title, width] = header
    else:
        header = headers.get((title, width), ())
    padded = [tuple(cells) + ("",) * (width - len(cells)) for cells in body]
    return Table(header, tuple(TableRow(header, cells) for cells in padded))


def amount(cell: str) -> tuple[float, str] | None:
    """The number in a cell and its unit; durations come in days, so that 2 weeks is less than 1 month."""
    match = _AMOUNT.search(cell)
    if match is None or re.fullmatch(r"\d{4}-\d\d(-\d\d)?", cell.strip()):
        return None
    value = float(match["number"].replace(",", ""))
    unit = (match["before"] or match["unit"] or "").strip()
    days = _DAYS.get(unit.lower().rstrip("s"))
    return (value * days, "days") if days else (value, unit)


def _cells(line: str) -> list[str]:
    inner = line.strip().removeprefix("|")
    inner = inner[:-1] if inner.endswith("|") and not inner.endswith("\\|") else inner
    return [re.sub(r"\*\*|`", "", cell.replace("\\|", "|")).strip() for cell in re.split(r"(?<!\\)\|", inner)]


def _number(cell: str) -> bool:
    return bool(re.match(r"\s*(?:[€$£]|[A-Z]{3}\s)?\d", cell))
