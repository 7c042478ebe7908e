"""Answers questions over several rows of a table: how many, how much in all, which is the most or the least."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from serving.pipeline.models.reader.question import ParsedQuestion
from serving.pipeline.models.reader.tables import Table, TableRow, amount
from serving.pipeline.models.reader.units import Unit
from serving.pipeline.models.reader.words import terms

Operation = Literal["count", "list", "sum", "max", "min", "average"]
_OPERATIONS: Final[tuple[tuple[Operation, str], ...]] = (
    ("average", r"\baverage\b|\bmean\b"),
    ("sum", r"\btotal\b|\bsum\b|\baltogether\b|\bin all\b|\bcombined\b|\bin total\b"),
    ("max", r"\b(?:highest|largest|longest|most expensive|greatest|biggest|maximum|most|latest|heaviest|fastest)\b"),
    ("min", r"\b(?:lowest|smallest|shortest|cheapest|least expensive|fewest|minimum|least|earliest|lightest|slowest)\b"),
    ("count", r"\bhow many\b|\bnumber of\b|\bcount\b"),
)
_OF_UNITS: Final = re.compile(r"how many (?:\w+ ){0,2}(?:days|weeks|months|years|hours|minutes|percent|euros)", re.IGNORECASE)
_TOTAL: Final = re.compile(r"\W*(?:grand |sub)?(?:total|sum)\b", re.IGNORECASE)
_SHOWN: Final = 8  # rows named in a count
_FITS: Final = 0.5  # share of the question's terms that a table must show
_LISTED: Final = 20  # rows named in a list


@dataclass(frozen=True, slots=True)
class TableResult:
    """The result over a table's rows, said in one sentence."""

    text: str
    unit: Unit  # one row that took part, for the citation and the confidence


def aggregate(question: ParsedQuestion, units: Sequence[Unit]) -> TableResult | None:
    """The answer over the table that fits the question best, or nothing where none fits."""
    operation = next((name for name, pattern in _OPERATIONS if re.search(pattern, question.text, re.IGNORECASE)), None)
    if operation is None and question.wants_list:
        operation = "list"
    if operation is None:
        return None
    ranked = sorted(_tables(units), key=lambda unit: (-_fit(question, unit), unit.place))
    for unit in ranked:
        if _fit(question, unit) < _FITS:
            break
        said = _over(operation, question, unit.table) if unit.table else ""
        if said:
            return TableResult(said, unit)
    return None


def _tables(units: Sequence[Unit]) -> list[Unit]:
    """A row of every table, which is whole again where a document's passages each show a piece of it."""
    pieces: dict[tuple[str, tuple[str, ...]], Unit] = {}
    for unit in sorted(units, key=lambda unit: unit.place):
        table = unit.table
        if table is None or not table.header:
            continue
        key = (unit.passage.title, table.header)
        known = pieces.get(key)
        if known is None:
            pieces[key] = unit
        elif known.table is not None and known.table is not table:
            rows = dict.fromkeys([*known.table.rows, *table.rows])
            pieces[key] = replace(known, table=Table(table.header, tuple(rows)))
    return [unit for unit in pieces.values() if unit.table is not None and len(unit.table.rows) > 1]


def _fit(question: ParsedQuestion, unit: Unit) -> float:
    """The share of the question's terms in the table or above it."""
    table = unit.table
    if table is None or not question.terms:
        return 0.0
    cells = " ".join(cell for row in table.rows for cell in row.cells)
    around = set(terms(f"{' '.join(table.header)} {unit.context} {unit.passage.section} {unit.passage.title} {cells}"))
    return sum(term in around for term in question.terms) / len(question.terms)


def _over(operation: Operation, question: ParsedQuestion, table: Table) -> str:
    totals = [row for row in table.rows if _TOTAL.match(row.cells[0]) or (len(row.cells) > 1 and _TOTAL.match(row.cells[1]))]
    table = replace(table, rows=tuple(row for row in table.rows if row not in totals))  # a total is not one more row to count
    if not table.rows:
        return ""
    rows, why = _matching(question, table)
    if operation == "list":
        column_name, _, value = why.partition(": ")
        clear = " or " not in value and (" " in value or bool(set(terms(column_name)) & set(question.terms)))
        return f"{', '.join(row.cells[0] for row in rows)} ({why})" if why and clear and 1 < len(rows) <= _LISTED else ""
    if operation == "count":
        if not why or _OF_UNITS.search(question.text):
            return ""
        shown = ", ".join(row.cells[0] for row in rows[:_SHOWN]) + (", …" if len(rows) > _SHOWN else "")
        return f"{len(rows)} ({why}): {shown}"
    column = _measure(question, table, rows)
    if column is None or len(rows) < 2:
        return ""
    values = [(amount(row.cells[column]), row) for row in rows]
    known = [(value, row) for value, row in values if value is not None]
    if len(known) < 2 or len({value[1] for value, _ in known}) > 1:  # two currencies are never added or compared
        return ""
    if operation == "sum" and totals and not why:
        return totals[0].say([column], [0])
    name, unit = table.header[column], known[0][0][1]
    if operation in ("max", "min"):
        pick = max if operation == "max" else min
        extreme = pick(value[0] for value, _ in known)
        best = [row for value, row in known if value[0] == extreme]
        return "; ".join(row.say(range(len(row.cells)), _labels(row, column)) for row in best[:3])
    amounts = [value[0] for value, _ in known]
    result = sum(amounts) if operation == "sum" else sum(amounts) / len(amounts)
    listed = " + ".join(row.cells[column] for _, row in known[:_SHOWN]) if len(known) <= _SHOWN else f"{len(known)} rows"
    return f"{'Total' if operation == 'sum' else 'Average'} {name} = {_said(result, unit)} ({listed})"


def _matching(question: ParsedQuestion, table: Table) -> tuple[list[TableRow], str]:
    """The rows whose cells the question names, and those cells; all rows where it names none."""
    asked = set(question.terms)
    rows, reasons = list(table.rows), list[str]()
    for column in range(len(table.header)):
        values = dict.fromkeys(row.cells[column] for row in rows)
        label = len(values) == len(table.rows) > 3  # every row differs: naming one row is no class, naming several is
        named = [value for value in values if (words := set(terms(value))) and words <= asked]
        if len(values) > 1 and len(named) > (1 if label else 0):
            rows = [row for row in rows if row.cells[column] in named]
            reasons.append(f"{table.header[column]}: {' or '.join(named)}")
    return rows, "; ".join(reasons)


def _measure(question: ParsedQuestion, table: Table, rows: Sequence[TableRow]) -> int | None:
    """The numeric column that the question's words name best, else the only one."""
    numeric = [
        column for column in range(len(table.header)) if sum(_is_measure(row.cells[column]) for row in rows) >= max(2, 0.6 * len(rows))
    ]
    asked = set(question.terms)
    ranked = sorted(numeric, key=lambda column: (-len(asked & set(terms(table.header[column]))), column))
    if not ranked:
        return None
    named = asked & set(terms(table.header[ranked[0]]))
    return ranked[0] if named or len(ranked) == 1 else ranked[-1]


def _is_measure(cell: str) -> bool:
    return bool(re.match(r"\s*(?:[€$£]|[A-Z]{3}\s)?\d[\d,.]*\s*(?:%|[A-Za-z€]{1,12}(?:\s\w+)?)?\s*$", cell)) and amount(cell) is not None


def _labels(row: TableRow, measure: int) -> list[int]:
    return [column for column in range(min(2, len(row.cells))) if column != measure]


def _said(value: float, unit: str) -> str:
    number = f"{value:,.2f}".removesuffix(".00")
    return f"{unit} {number}" if unit.isupper() or unit in ("€", "$", "£") else f"{number} {unit}".strip()
