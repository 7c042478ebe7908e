"""Whether a sum, a share or a count that the question names lies within what a unit states: "up to 50,000", "from 10 %", "5–9 units"."""

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from serving.pipeline.models.reader.tables import TableRow
from serving.pipeline.models.reader.units import Unit

_VALUE: Final = r"(\d[\d,]*(?:\.\d+)?)"
_UNIT: Final = r"(%|per ?cent|percent|EUR|USD|GBP|SGD|PLN|CHF|euros?|dollars?|pounds?|days?|weeks?|months?|years?|hours?|units|pieces)"
_AMOUNT: Final = re.compile(rf"(?:([€$£])\s?)?{_VALUE}\s?{_UNIT}?(?![\w/-])", re.IGNORECASE)
_SIGNS: Final = {"€": "eur", "$": "usd", "£": "gbp", "euro": "eur", "dollar": "usd", "pound": "gbp", "percent": "%", "per cent": "%"}
_UPPER: Final = re.compile(
    rf"\b(?:up to|until|at most|below|under|less than|not more than|max(?:imum)?)\s+(?:[€$£]\s?)?{_VALUE}", re.IGNORECASE
)
_LOWER: Final = re.compile(rf"\b(?:from|above|over|more than|at least|beyond|exceeding)\s+(?:[€$£]\s?)?{_VALUE}", re.IGNORECASE)
_BETWEEN: Final = re.compile(rf"{_VALUE}\s*(?:–|-|to)\s*{_VALUE}")
_ABOVE: Final = re.compile(r"\s*(?:above|over|more|beyond|any|unlimited)\b", re.IGNORECASE)
_CAP_HEADER: Final = re.compile(r"\b(?:up to|below|under|until|limit|maximum|at most)\b", re.IGNORECASE)
_FLOOR_HEADER: Final = re.compile(r"\b(?:from|above|over|at least|minimum)\b", re.IGNORECASE)


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
    for column, cell in enumerate(row.cells):
        header = row.header[column] if column < len(row.header) else ""
        cells = [other.cells[column] for other in rows if column < len(other.cells)]
        if amount.unit not in f"{header} {' '.join(cells)}".lower():
            continue
        limits = [_limit(other) for other in cells]
        if _CAP_HEADER.search(header) or any(_UPPER.match(other) for other in cells):
            caps = sorted({value for value in limits if value is not None and value >= amount.value})
            limit = _limit(cell)
            return 1.0 if (limit == caps[0] if caps else _ABOVE.match(cell) is not None) else -1.0
        if _FLOOR_HEADER.search(header) or any(_LOWER.match(other) for other in cells):
            floors = sorted(value for value in limits if value is not None and value <= amount.value)
            return 1.0 if floors and _limit(cell) == floors[-1] else -1.0
        if _BETWEEN.search(cell):
            return 1.0 if _contains(amount.value, cell) else -1.0
    return 0.0


def _limit(cell: str) -> float | None:
    """The limit in a short cell."""
    match = re.search(_VALUE, cell)
    return _value(match[1]) if match and len(cell) <= 40 and not _ABOVE.match(cell) else None


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
