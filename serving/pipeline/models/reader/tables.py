"""Tables in passages: parsing, cells with their headers, amounts."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

_RULE_CELL: Final = re.compile(r":?-{2,}:?")
_AMOUNT: Final = re.compile(r"(?P<before>[€$£]|[A-Z]{3})?\s?(?P<number>\d[\d,]{0,18}(?:\.\d{1,9})?)\s?(?P<unit>%|[A-Za-z€]{1,12})?")
_UNIT_IN_BRACKETS: Final = re.compile(r"\((EUR|USD|GBP|SGD|PLN|CHF|€|\$|£|%|g|kg|mm|cm|m|km|h|min|ms|W|V|A)\)\s*\Z")
MONEY: Final = r"(?:EUR|USD|GBP|SGD|PLN|CHF|€|\$|£)"
_CURRENCY: Final = re.compile(rf"{MONEY}|%")
_COUNTED: Final = re.compile(r"(?:[\w-]{1,20} ){0,2}(?:days|weeks|months|years|hours|minutes|seconds|points|pieces|units)\b", re.IGNORECASE)
_NUMBER: Final = re.compile(r"-?\d[\d,]*(?:\.\d+)?")
_SAYS_NOTHING: Final = frozenset({"value", "values", "rule", "description", "meaning", "detail", "details", "answer", "content", "text"})
_PLACEHOLDERS: Final = ("", "-", "–", "—", "n/a", "none")
_BOUND: Final = re.compile(r"(?:up to|above|below|over|from|under|at least|at most)\b|\d[\d,.]{0,20}\s?%?$", re.IGNORECASE)
_DAYS: Final = {"minute": 1 / 1440, "hour": 1 / 24, "day": 1.0, "week": 7.0, "month": 30.0, "quarter": 91.0, "year": 365.0}


@dataclass(frozen=True, slots=True)
class TableRow:
    """One row's cells under their headers; headers may be empty where the passage shows none."""

    header: tuple[str, ...]
    cells: tuple[str, ...]

    def in_words(self, columns: Sequence[int], labels: Sequence[int]) -> str:
        """The row in words: "Radio chip: KR-91", "TG-4410B, list price: 1,240 EUR; lead time: 3 weeks"."""
        label = ", ".join(self._label(column) for column in labels if self.cells[column])
        shown = [column for column in columns if column not in labels and self.cells[column] not in _PLACEHOLDERS]
        phrases = [self._phrase(column, ": ") for column in shown]
        if not label or not phrases:
            return label or "; ".join(phrases)
        between = ", " if phrases[0] != self.cells[shown[0]] and ": " in phrases[0] else ": "
        return f"{label}{between}{'; '.join(_uncapitalised(phrase) if ': ' in phrase else phrase for phrase in phrases)}"

    def under(self, column: int) -> str:
        """A cell followed by its header's words, so that "25" below "Days per year" shows 25 days."""
        name = self.header[column] if column < len(self.header) else ""
        return f"{self.cells[column]} {name}".strip()

    def measure(self, column: int) -> tuple[float, str] | None:
        """The number in a cell and its unit, which its header may say: 1,010 below "EUR"."""
        found = amount(self.cells[column])
        if found is None or found[1]:
            return found
        return found[0], _unit_of(self._name(column))

    def _name(self, column: int) -> str:
        return self.header[column] if column < len(self.header) else ""

    def _label(self, column: int) -> str:
        """The cell; with its header where it is a bound or a number that says nothing alone."""
        return self._phrase(column, " ") if _BOUND.match(self.cells[column]) else self.cells[column]

    def _phrase(self, column: int, between: str) -> str:
        """A cell with what its header adds: "3 h" below "S2" is "S2: 3 h", "9" below "Working days" is "9 working days"."""
        name, cell = self._name(column), self.cells[column]
        plain = _NUMBER.fullmatch(cell) is not None
        unit = _unit_of(name)
        if plain and unit:
            cell, name = f"{cell} {unit}", _UNIT_IN_BRACKETS.sub("", name).strip()
            name = "" if name == unit else name
        elif plain and _COUNTED.match(name):
            counted = _uncapitalised(name)
            return f"{cell} {counted}"
        return cell if not name or name.lower() in _SAYS_NOTHING else f"{name}{between}{cell}"


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
    ruled = len(lines) > 1 and _is_rule(lines[1])
    width = max(len(cells) for cells in grid)
    header: tuple[str, ...] = ()
    body = [cells for cells, line in zip(grid, lines, strict=True) if not _is_rule(line)]
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


def _is_rule(line: str) -> bool:
    """Whether a line is the rule below a table's header: "|---|:--:|"."""
    cells = line.strip().removeprefix("|").removesuffix("|").split("|")
    return all(_RULE_CELL.fullmatch(cell.strip()) for cell in cells)


def _unit_of(header: str) -> str:
    """The unit that a header gives its column: "EUR", "Price (EUR)"."""
    match = _CURRENCY.fullmatch(header.strip()) or _UNIT_IN_BRACKETS.search(header[-40:])
    return match[match.lastindex or 0] if match else ""


def _uncapitalised(text: str) -> str:
    """The text with a small first letter, unless it begins with an abbreviation, a code or a name of one letter."""
    return text[:1].lower() + text[1:] if text[1:2].islower() else text


def _number(cell: str) -> bool:
    return bool(re.match(r"\s*(?:[€$£]|[A-Z]{3}\s)?\d", cell))
