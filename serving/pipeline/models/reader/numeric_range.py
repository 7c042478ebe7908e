"""Whether a sum, a share or a count that the question names lies within what a unit states: "up to 50,000", "from 10 %", "5–9 units"."""

import math
import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from serving.pipeline.models.reader.tables import TableRow
from serving.pipeline.models.reader.units import Unit

_VALUE: Final = r"(\d[\d,]{0,18}(?:\.\d{1,9})?)"
_UNIT: Final = r"(%|per ?cent|percent|EUR|USD|GBP|SGD|PLN|CHF|euros?|dollars?|pounds?|days?|weeks?|months?|years?|hours?|units|pieces)"
_AMOUNT: Final = re.compile(rf"(?:([€$£])\s?)?{_VALUE}\s?{_UNIT}?(?![\w/-])", re.IGNORECASE)
_SIGNS: Final = {"€": "eur", "$": "usd", "£": "gbp", "euro": "eur", "dollar": "usd", "pound": "gbp", "percent": "%", "per cent": "%"}
_UPPER: Final = re.compile(
    rf"\b(?:up to|until|at most|below|under|less than|not more than|max(?:imum)?)\s{{1,3}}(?:[€$£]\s?)?{_VALUE}", re.IGNORECASE
)
_LOWER: Final = re.compile(rf"\b(?:from|above|over|more than|at least|beyond|exceeding)\s{{1,3}}(?:[€$£]\s?)?{_VALUE}", re.IGNORECASE)
_BETWEEN: Final = re.compile(rf"{_VALUE}\s{{0,3}}(?:–|-|to)\s{{0,3}}{_VALUE}")
_ABOVE: Final = re.compile(r"\s{0,8}(?:above|over|more|beyond|any|unlimited)\b", re.IGNORECASE)
_CAP_HEADER: Final = re.compile(r"\b(?:up to|below|under|until|limit|maximum|at most)\b", re.IGNORECASE)
_FLOOR_HEADER: Final = re.compile(r"\b(?:from|above|over|at least|minimum)\b", re.IGNORECASE)


_AND_MORE: Final = re.compile(r"\s{0,3}(?:[a-z]{1,20}\s{1,3})?(?:and|or) (?:more|above|over|longer|later)\b|\s?\+", re.IGNORECASE)
_EXCLUDED: Final = re.compile(r"\b(?:below|under|less than|above|over|more than|beyond|exceeding)\b", re.IGNORECASE)  # its end
_LONGEST_RANGE: Final = 60  # characters of a cell that states a range


class CellRange(NamedTuple):
    """A range of numbers, ends included."""

    least: float
    most: float


class QuestionAmount(NamedTuple):
    """An amount in the question with its unit, normalised."""

    value: float
    unit: str


def question_amount(question: str) -> QuestionAmount | None:
    """The amount of a question: its only number with a unit."""
    amounts = [match for match in _AMOUNT.finditer(question) if match[1] or match[3]]
    if len(amounts) != 1:
        return None
    unit = (amounts[0][1] or amounts[0][3]).lower()
    return QuestionAmount(_value(amounts[0][2]), _SIGNS.get(unit, _SIGNS.get(unit.rstrip("s"), unit.rstrip("s"))))


def range_match(amount: QuestionAmount | None, unit: Unit) -> float:
    """From 1, where the unit's range contains the amount, to -1, where it does not; a row counts more than a sentence."""
    if amount is None:
        return 0.0
    if unit.row is not None and unit.table is not None:
        return _row_match(amount, unit.row, unit.table.rows)
    if amount.unit not in unit.text.lower():
        return 0.0
    contained = _contains(amount.value, unit.text)
    return 0.0 if contained is None else 0.2 if contained else -1.0


def _row_match(amount: QuestionAmount, row: TableRow, rows: Sequence[TableRow]) -> float:
    for column in range(len(row.cells)):
        header = row.header[column] if column < len(row.header) else ""
        cells = [other.cells[column] for other in rows if column < len(other.cells)]
        if amount.unit not in f"{header} {' '.join(cells)}".lower():
            continue
        intervals = [interval(cell, header) for cell in cells]
        if sum(one is not None for one in intervals) * 2 < len(cells):
            continue
        own, best = interval(row.cells[column], header), narrowest(amount.value, intervals)
        return 1.0 if best is not None and own == best else -1.0
    return 0.0


def column_with(amount: QuestionAmount | None, header: Sequence[str]) -> int | None:
    """The column whose header is the range that the amount lies in: "5 to 10 years"."""
    if amount is None:
        return None
    if not any(amount.unit in name.lower() for name in header):
        return None
    intervals = [interval(name, "") for name in header]
    if sum(one is not None for one in intervals) < 2:
        return None
    best = narrowest(amount.value, intervals)
    return None if best is None else intervals.index(best)


def interval(cell: str, header: str) -> CellRange | None:
    """The range that a short cell or header states, by its own words or by those of its header."""
    if len(cell) > _LONGEST_RANGE:
        return None
    between = _BETWEEN.search(cell)
    if between:
        return CellRange(_value(between[1]), _value(between[2]))
    number = re.search(_VALUE, cell)
    if number is None:
        return CellRange(-math.inf, math.inf) if _ABOVE.match(cell) else None
    value = _value(number[1])
    if _UPPER.search(cell):
        return CellRange(-math.inf, math.nextafter(value, -math.inf) if _EXCLUDED.search(cell) else value)
    if _LOWER.search(cell):
        return CellRange(math.nextafter(value, math.inf) if _EXCLUDED.search(cell) else value, math.inf)
    if _AND_MORE.match(cell, number.end()):
        return CellRange(value, math.inf)
    if _CAP_HEADER.search(header):
        return CellRange(-math.inf, value)
    return CellRange(value, math.inf) if _FLOOR_HEADER.search(header) else None


def narrowest(value: float, intervals: Sequence[CellRange | None]) -> CellRange | None:
    """The tightest of the ranges that a value lies in."""
    holding = [one for one in intervals if one is not None and one.least <= value <= one.most]
    return min(holding, key=lambda one: (one.most, -one.least), default=None)


def _contains(value: float, text: str) -> bool | None:
    """Whether every range in the text contains the value; None where there is no range."""
    between = _BETWEEN.search(text)
    if between:
        return _value(between[1]) <= value <= _value(between[2])
    upper, lower = _UPPER.search(text), _LOWER.search(text)
    if upper is None and lower is None:
        return None
    return (upper is None or value <= _value(upper[1])) and (lower is None or value >= _value(lower[1]))


def _value(digits: str) -> float:
    return float(digits.rstrip(",").replace(",", ""))
