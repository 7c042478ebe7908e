"""Puts chosen units into words: rows as sentences, lists with their lead, citations as the prompt asks."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from serving.pipeline.models.reader.brief import Brief
from serving.pipeline.models.reader.evidence import Scales, UnitEvidence
from serving.pipeline.models.reader.tables import TableRow
from serving.pipeline.models.reader.units import Unit
from serving.pipeline.models.reader.words import terms

_NUMBER: Final = re.compile(r"\b\d[\d.,]*\b")  # a number alone names no row
_CLAUSE: Final = re.compile(r"^\W*\d{1,2}(?:\.\d{1,2})+\s+(?=[A-Z](?![A-Z]{2}\b))")  # "4.2 The …"; no amount: "12.50 USD"
_ASKS_CLAUSE: Final = re.compile(r"\b(?:clause|section|paragraph|article|rule|number)s?\b", re.IGNORECASE)
_SHOWS: Final = 0.3  # worth of showing the kind of thing asked for, beside the share of the question in the header
_LIST_WORDS: Final = 110  # a longer list is cut after a whole item


@dataclass(frozen=True, slots=True)
class Statement:
    """One sentence of the answer and where it stands."""

    text: str
    unit: Unit


def state(scales: Scales, evidence: UnitEvidence, *, lists: bool) -> Statement:
    """What a unit says to a question."""
    unit = evidence.unit
    if unit.row is not None:
        return Statement(_row(scales, unit.row), unit)
    if lists and unit.items:
        return Statement(_with_items(unit.text, unit.items), unit)
    if unit.kind == "code" and "`" not in unit.text:
        return Statement(f"`{unit.text}`", unit)
    text = unit.text if _ASKS_CLAUSE.search(scales.question.text) else _CLAUSE.sub("", unit.text, count=1) or unit.text
    return Statement(text.rstrip(":") if text.endswith(":") else text, unit)


def say(statements: Sequence[Statement], brief: Brief) -> str:
    """The answer: statements one after the other, each with its passage's number where the prompt wants it."""
    if brief.citing == "every":
        return " ".join(_cited(statement.text, (statement.unit.passage.number,)) for statement in statements)
    texts = [_stopped(statement.text) for statement in statements]
    if brief.citing == "some":
        numbers = tuple(sorted({statement.unit.passage.number for statement in statements}))
        texts[-1] = _cited(texts[-1], numbers)
    return " ".join(texts)


def _row(scales: Scales, row: TableRow) -> str:
    """The cells asked for, after the cells that say which row it is; the whole row where no column is asked for."""
    every = [column for column in range(len(row.cells)) if row.cells[column]]
    plain = [column for column in every if not scales.question.shown_in(row.under(column))]
    named = {column: _named(scales, _NUMBER.sub("", row.cells[column])) for column in plain}
    best = max(named, key=lambda column: (named[column], -column), default=0)
    labels = sorted({0, best} if named.get(best) else {0})
    rest = [column for column in every if column not in labels]
    asked = {column: _asked(scales, row, column) for column in rest}
    most = max(asked.values(), default=0.0)
    wanted = [column for column in rest if asked[column] >= most > 0]
    return row.say(wanted or rest, labels)


def _asked(scales: Scales, row: TableRow, column: int) -> float:
    """How much a question asks for a column: by the header's words, and by what the cell shows."""
    header = row.header[column] if column < len(row.header) else ""
    return _named(scales, header) + (_SHOWS if scales.question.shown_in(row.under(column)) else 0.0)


def _named(scales: Scales, text: str) -> float:
    words = set(terms(text))
    return round(scales.share({term: scales.likeness.worth(term, words) for term in scales.weights}), 4)


def _with_items(lead: str, items: Sequence[str]) -> str:
    kept: list[str] = []
    for item in items:
        if kept and sum(len(word.split()) for word in [*kept, item]) > _LIST_WORDS:
            break
        kept.append(item.rstrip(" .;,"))
    more = "" if len(kept) == len(items) else "; …"
    return f"{lead.rstrip(' .:')}: {'; '.join(kept)}{more}"


def _cited(text: str, numbers: Sequence[int]) -> str:
    marks = "".join(f"[{number}]" for number in numbers)
    bare = text.rstrip()
    if bare.endswith(".") and not bare.endswith("..."):
        return f"{bare[:-1]} {marks}."
    return f"{bare} {marks}" if re.search(r"[!?…]$", bare) else f"{bare} {marks}."


def _stopped(text: str) -> str:
    bare = text.rstrip()
    return bare if re.search(r"[.!?…]$", bare) else f"{bare}."
