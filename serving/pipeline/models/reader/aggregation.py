"""Answers questions over several rows of a table: how many, how much in all, which is the most or the least."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from serving.pipeline.models.reader.question import ParsedQuestion
from serving.pipeline.models.reader.tables import Table, TableRow, amount
from serving.pipeline.models.reader.units import Unit
from serving.pipeline.models.reader.words import term_set

Operation = Literal["count", "list", "sum", "max", "min", "average"]
_OPERATIONS: Final[tuple[tuple[Operation, str], ...]] = (
    ("average", r"\baverage\b|\bmean\b"),
    ("sum", r"\btotal\b|\bsum\b|\baltogether\b|\bin all\b|\bcombined\b|\bin total\b"),
    ("max", r"\b(?:highest|largest|longest|most expensive|greatest|biggest|maximum|most|latest|heaviest|fastest)\b"),
    ("min", r"\b(?:lowest|smallest|shortest|cheapest|least expensive|fewest|minimum|least|earliest|lightest|slowest)\b"),
    ("count", r"\bhow many\b|\bnumber of\b|\bcount\b"),
)
_COUNTS_A_UNIT: Final = re.compile(r"how many (?:\w+ ){0,2}(?:days|weeks|months|years|hours|minutes|percent|euros)", re.IGNORECASE)
_TOTAL_ROW: Final = re.compile(r"\W{0,8}(?:grand |sub)?(?:total|sum)\b", re.IGNORECASE)
_MEASURE: Final = re.compile(r"\s{0,8}(?:[€$£]|[A-Z]{3}\s)?\d[\d,.]{0,20}\s{0,4}(?:%|[A-Za-z€]{1,12}(?:\s\w{1,20})?)?\s{0,8}")
_RANGE_OF_LABELS: Final = re.compile(r"\b(\w{1,20}) (?:to|until|till|through) (\w{1,20})\b", re.IGNORECASE)
_MOST_NAMED: Final = 8  # rows named in a count
_LEAST_MATCH: Final = 0.5  # share of the question's terms that a table must show
_MOST_LISTED: Final = 20  # rows named in a list


@dataclass(frozen=True, slots=True)
class TableResult:
    """A result over the rows of a table, in one sentence."""

    text: str
    unit: Unit  # one row that took part, for the citation and the confidence


def aggregate(question: ParsedQuestion, units: Sequence[Unit]) -> TableResult | None:
    """The result over the table that matches the question best, or nothing where none matches."""
    operation = next((name for name, pattern in _OPERATIONS if re.search(pattern, question.text, re.IGNORECASE)), None)
    if operation is None and question.wants_list:
        operation = "list"
    if operation is None:
        return None
    ranked = sorted(_tables(units), key=lambda unit: (-_table_match(question, unit), unit.place))
    for unit in ranked:
        if _table_match(question, unit) < _LEAST_MATCH:
            break
        text = _aggregate_table(operation, question, unit.table) if unit.table else ""
        if text:
            return TableResult(text, unit)
    return None


def _tables(units: Sequence[Unit]) -> list[Unit]:
    """A row of every table, which is whole again where a document's passages each show a piece of it."""
    tables: dict[tuple[str, tuple[str, ...]], Unit] = {}
    for unit in sorted(units, key=lambda unit: unit.place):
        table = unit.table
        if table is None or not table.header:
            continue
        key = (unit.passage.title, table.header)
        first = tables.get(key)
        if first is None:
            tables[key] = unit
        elif first.table is not None and first.table is not table:
            rows = dict.fromkeys([*first.table.rows, *table.rows])
            tables[key] = replace(first, table=Table(table.header, tuple(rows)))
    return [unit for unit in tables.values() if unit.table is not None and len(unit.table.rows) > 1]


def _table_match(question: ParsedQuestion, unit: Unit) -> float:
    """The share of the question's terms in the table or above it."""
    table = unit.table
    if table is None or not question.terms:
        return 0.0
    cells = " ".join(cell for row in table.rows for cell in row.cells)
    around = term_set(f"{' '.join(table.header)} {unit.context} {unit.passage.section} {unit.passage.title} {cells}")
    return sum(term in around for term in question.terms) / len(question.terms)


def _aggregate_table(operation: Operation, question: ParsedQuestion, table: Table) -> str:
    totals = [row for row in table.rows if _TOTAL_ROW.match(row.cells[0]) or (len(row.cells) > 1 and _TOTAL_ROW.match(row.cells[1]))]
    table = replace(table, rows=tuple(row for row in table.rows if row not in totals))  # a total is not one more row to count
    if not table.rows:
        return ""
    rows, condition = _matching(question, table)
    if operation == "list":
        column_name, _, value = condition.partition(": ")
        clear = " or " not in value and (" " in value or bool(term_set(column_name) & set(question.terms)))
        return f"{', '.join(row.cells[0] for row in rows)} ({condition})" if condition and clear and 1 < len(rows) <= _MOST_LISTED else ""
    if operation == "count":
        if not condition or _COUNTS_A_UNIT.search(question.text):
            return ""
        shown = ", ".join(row.cells[0] for row in rows[:_MOST_NAMED]) + (", …" if len(rows) > _MOST_NAMED else "")
        return f"{len(rows)} ({condition}): {shown}"
    column = _measure_column(question, table, rows)
    if column is None or len(rows) < 2:
        return ""
    values = [(row.measure(column), row) for row in rows]
    amounts_of_rows = [(value, row) for value, row in values if value is not None]
    if len(amounts_of_rows) < 2 or len({value[1] for value, _ in amounts_of_rows}) > 1:  # two currencies are never added or compared
        return ""
    if operation == "sum" and totals and not condition:
        return totals[0].in_words([column], [0])
    name, unit = table.header[column], amounts_of_rows[0][0][1]
    if operation in ("max", "min"):
        extremum = max if operation == "max" else min
        extreme = extremum(value[0] for value, _ in amounts_of_rows)
        best = [row for value, row in amounts_of_rows if value[0] == extreme]
        return "; ".join(row.in_words(range(len(row.cells)), _label_columns(row, column)) for row in best[:3])
    amounts = [value[0] for value, _ in amounts_of_rows]
    result = sum(amounts) if operation == "sum" else sum(amounts) / len(amounts)
    terms_of_sum = (
        " + ".join(row.cells[column] for _, row in amounts_of_rows[:_MOST_NAMED])
        if len(amounts_of_rows) <= _MOST_NAMED
        else f"{len(amounts_of_rows)} rows"
    )
    if operation == "sum":
        return (
            f"{name}: {terms_of_sum} = {_amount_text(result, unit)}"
            if " + " in terms_of_sum
            else f"{name}, total of {terms_of_sum}: {_amount_text(result, unit)}"
        )
    return f"{name}, average of {len(amounts)} rows: {_amount_text(result, unit)}"


def _matching(question: ParsedQuestion, table: Table) -> tuple[list[TableRow], str]:
    """The rows whose cells the question names, and those cells; all rows where it names none."""
    question_terms = set(question.terms)
    rows, conditions = list(table.rows), list[str]()
    span = _RANGE_OF_LABELS.search(question.text)
    labels = [row.cells[0].lower() for row in rows]
    if span and span[1].lower() in labels and span[2].lower() in labels:
        first, last = labels.index(span[1].lower()), labels.index(span[2].lower())
        return rows[first : last + 1], f"{rows[first].cells[0]} to {rows[last].cells[0]}"
    for column in range(len(table.header)):
        values = dict.fromkeys(row.cells[column] for row in rows)
        is_label = len(values) == len(table.rows) > 3  # every row differs: naming one row is no class, naming several is
        named = [value for value in values if (words := term_set(value)) and words <= question_terms]
        if len(values) > 1 and len(named) > (1 if is_label else 0):
            rows = [row for row in rows if row.cells[column] in named]
            conditions.append(f"{table.header[column]}: {' or '.join(named)}")
    return rows, "; ".join(conditions)


def _measure_column(question: ParsedQuestion, table: Table, rows: Sequence[TableRow]) -> int | None:
    """The numeric column that the question's words name best, else the only one."""
    numeric = [
        column for column in range(len(table.header)) if sum(_is_measure(row.cells[column]) for row in rows) >= max(2, 0.6 * len(rows))
    ]
    question_terms = set(question.terms)
    ranked = sorted(numeric, key=lambda column: (-len(question_terms & term_set(table.header[column])), column))
    if not ranked:
        return None
    named = question_terms & term_set(table.header[ranked[0]])
    return ranked[0] if named or len(ranked) == 1 else ranked[-1]


def _is_measure(cell: str) -> bool:
    return bool(_MEASURE.fullmatch(cell)) and amount(cell) is not None


def _label_columns(row: TableRow, measure: int) -> list[int]:
    return [column for column in range(min(2, len(row.cells))) if column != measure]


def _amount_text(value: float, unit: str) -> str:
    number = f"{value:,.2f}".removesuffix(".00")
    return f"{unit} {number}" if unit.isupper() or unit in ("€", "$", "£") else f"{number} {unit}".strip()
