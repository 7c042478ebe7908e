"""Puts chosen units into words: rows as sentences, lists with their lead, citations as the prompt asks."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from serving.pipeline.models.reader.brief import Brief
from serving.pipeline.models.reader.evidence import Evidence
from serving.pipeline.models.reader.question import Question
from serving.pipeline.models.reader.tables import Row
from serving.pipeline.models.reader.units import Unit
from serving.pipeline.models.reader.words import terms

_LIST_WORDS: Final = 110  # a longer list is cut after a whole item


@dataclass(frozen=True, slots=True)
class Statement:
    """One sentence of the answer and where it stands."""

    text: str
    unit: Unit


def state(question: Question, evidence: Evidence, *, lists: bool) -> Statement:
    """What a unit says to a question."""
    unit = evidence.unit
    if unit.row is not None:
        return Statement(_row(question, unit.row, unit), unit)
    if lists and unit.items:
        return Statement(_with_items(unit.text, unit.items), unit)
    if unit.kind == "code" and "`" not in unit.text:
        return Statement(f"`{unit.text}`", unit)
    return Statement(unit.text.rstrip(":") if unit.text.endswith(":") else unit.text, unit)


def say(statements: Sequence[Statement], brief: Brief) -> str:
    """The answer: statements one after the other, each with its passage's number where the prompt wants it."""
    if brief.citing == "every":
        return " ".join(_cited(statement.text, (statement.unit.passage.number,)) for statement in statements)
    texts = [_stopped(statement.text) for statement in statements]
    if brief.citing == "some":
        numbers = tuple(sorted({statement.unit.passage.number for statement in statements}))
        texts[-1] = _cited(texts[-1], numbers)
    return " ".join(texts)


def _row(question: Question, row: Row, unit: Unit) -> str:
    """The cells asked for, after the cells that say which row it is; the whole row where no column is named."""
    asked = set(question.terms)
    every = range(len(row.cells))
    named = {column: len(asked & set(terms(row.cells[column]))) for column in every if not question.shown_in(row.cells[column])}
    best = max(named, key=lambda column: (named[column], -column), default=0)
    labels = sorted({0, best} if named.get(best) else {0})
    rest = [column for column in every if column not in labels]
    meant = [column for column in rest if column < len(row.header) and asked & set(terms(row.header[column]))]
    wanted = [column for column in rest if column in meant or question.shown_in(row.cells[column])] or rest
    if len(" ".join(row.cells).split()) <= 22:
        wanted = rest  # a short row is said whole
    return row.say(wanted, labels)


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
