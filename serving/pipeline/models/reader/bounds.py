"""Whether a sum, a share or a count that the question names lies within what a unit states: "up to 50,000", "from 10 %", "5–9 units"."""

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from serving.pipeline.models.reader.tables import TableRow
from serving.pipeline.models.reader.units import Unit

_VALUE: Final = r"(\d[\d,]*(?:\.\d+)?)"
_UNIT: Final = r"(%|per ?cent|percent|EUR|USD|GBP|SGD|PLN|CHF|euros?|dollars?|pounds?|days?|weeks?|months?|years?|hours?|units|pieces)"
_ASKED: Final = re.compile(rf"(?:([€$£])\s?)?{_VALUE}\s?{_UNIT}?(?![\w/-])", re.IGNORECASE)
_SIGNS: Final = {"€": "eur", "$": "usd", "£": "gbp", "euro": "eur", "dollar": "usd", "pound": "gbp", "percent": "%", "per cent": "%"}
_TO: Final = re.compile(
    rf"\b(?:up to|until|at most|below|under|less than|not more than|max(?:imum)?)\s+(?:[€$£]\s?)?{_VALUE}", re.IGNORECASE
)
_FROM: Final = re.compile(rf"\b(?:from|above|over|more than|at least|beyond|exceeding)\s+(?:[€$£]\s?)?{_VALUE}", re.IGNORECASE)
_BETWEEN: Final = re.compile(rf"{_VALUE}\s*(?:–|-|to)\s*{_VALUE}")
_ABOVE: Final = re.compile(r"\s*(?:above|over|more|beyond|any|unlimited)\b", re.IGNORECASE)
_CAP_HEADER: Final = re.compile(r"\b(?:up to|below|under|until|limit|maximum|at most)\b", re.IGNORECASE)
_FLOOR_HEADER: Final = re.compile(r"\b(?:from|above|over|at least|minimum)\b", re.IGNORECASE)


class AskedAmount(NamedTuple):
    """A number the question names and its unit, the currency or % in one spelling."""

    value: float
    unit: str


def asked_amount(question: str) -> AskedAmount | None:
    """The one amount of a question: a number with a unit that is no year, date or code."""
    found = [match for match in _ASKED.finditer(question) if match[1] or match[3]]
    if len(found) != 1:
        return None
    word = (found[0][1] or found[0][3]).lower()
    return AskedAmount(_value(found[0][2]), _SIGNS.get(word, _SIGNS.get(word.rstrip("s"), word.rstrip("s"))))


def fits(asked: AskedAmount | None, unit: Unit) -> float:
    """From 1, where the unit's range holds the amount asked about, to -1, where it leaves it out; a row tells more than a sentence."""
    if asked is None:
        return 0.0
    if unit.row is not None and unit.table is not None:
        return _row_fits(asked, unit.row, unit.table.rows)
    if asked.unit not in unit.text.lower():
        return 0.0
    held = _holds(asked.value, unit.text)
    return 0.0 if held is None else 0.2 if held else -1.0


def _row_fits(asked: AskedAmount, row: TableRow, rows: Sequence[TableRow]) -> float:
    for column, cell in enumerate(row.cells):
        header = row.header[column] if column < len(row.header) else ""
        cells = [other.cells[column] for other in rows if column < len(other.cells)]
        if asked.unit not in f"{header} {' '.join(cells)}".lower():
            continue
        stated = [_step(other) for other in cells]
        if _CAP_HEADER.search(header) or any(_TO.match(other) for other in cells):
            caps = sorted({value for value in stated if value is not None and value >= asked.value})
            step = _step(cell)
            return 1.0 if (step == caps[0] if caps else _ABOVE.match(cell) is not None) else -1.0
        if _FLOOR_HEADER.search(header) or any(_FROM.match(other) for other in cells):
            floors = sorted(value for value in stated if value is not None and value <= asked.value)
            return 1.0 if floors and _step(cell) == floors[-1] else -1.0
        if _BETWEEN.search(cell):
            return 1.0 if _holds(asked.value, cell) else -1.0
    return 0.0


def _step(cell: str) -> float | None:
    """The number that bounds a row, where its cell is little more than that."""
    match = re.search(_VALUE, cell)
    return _value(match[1]) if match and len(cell) <= 40 and not _ABOVE.match(cell) else None


def _holds(value: float, text: str) -> bool | None:
    """Whether every range stated holds the value; None where none is stated."""
    between = _BETWEEN.search(text)
    if between:
        return _value(between[1]) <= value <= _value(between[2])
    to, least = _TO.search(text), _FROM.search(text)
    if to is None and least is None:
        return None
    return (to is None or value <= _value(to[1])) and (least is None or value >= _value(least[1]))


def _value(digits: str) -> float:
    return float(digits.rstrip(",").replace(",", ""))
