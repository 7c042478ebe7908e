"""Words the selected units: rows as sentences, lists with their lead-in, citations by the rule of the prompt."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from serving.pipeline.models.reader.evidence import ScoringContext, UnitEvidence
from serving.pipeline.models.reader.prompt_task import PromptTask
from serving.pipeline.models.reader.tables import TableRow
from serving.pipeline.models.reader.units import Unit
from serving.pipeline.models.reader.words import terms

_NUMBER: Final = re.compile(r"\b\d[\d.,]*\b")  # a number alone names no row
_CLAUSE: Final = re.compile(r"^\W*\d{1,2}(?:\.\d{1,2})+\s+(?=[A-Z](?![A-Z]{2}\b))")  # "4.2 The …"; no amount: "12.50 USD"
_ASKS_CLAUSE: Final = re.compile(r"\b(?:clause|section|paragraph|article|rule|number)s?\b", re.IGNORECASE)
_TYPE_BONUS: Final = 0.3  # worth of showing the kind of thing asked for, beside the share of the question in the header
_LIST_WORDS: Final = 110  # a longer list is cut after a whole item


@dataclass(frozen=True, slots=True)
class Statement:
    """One sentence of the answer, and the unit it comes from."""

    text: str
    unit: Unit


def statement_of(scoring: ScoringContext, evidence: UnitEvidence, *, lists: bool) -> Statement:
    """The statement that a unit makes about a question."""
    unit = evidence.unit
    if unit.row is not None:
        return Statement(_row(scoring, unit.row), unit)
    if lists and unit.items:
        return Statement(_with_items(unit.text, unit.items), unit)
    if unit.kind == "code" and "`" not in unit.text:
        return Statement(f"`{unit.text}`", unit)
    text = unit.text if _ASKS_CLAUSE.search(scoring.question.text) else _CLAUSE.sub("", unit.text, count=1) or unit.text
    return Statement(text.rstrip(":") if text.endswith(":") else text, unit)


def compose_answer(statements: Sequence[Statement], task: PromptTask) -> str:
    """The answer: statements one after the other, each with its passage's number where the prompt wants it."""
    if task.citations == "every":
        return " ".join(_cited(statement.text, (statement.unit.passage.number,)) for statement in statements)
    texts = [_with_full_stop(statement.text) for statement in statements]
    if task.citations == "some":
        numbers = tuple(sorted({statement.unit.passage.number for statement in statements}))
        texts[-1] = _cited(texts[-1], numbers)
    return " ".join(texts)


def _row(scoring: ScoringContext, row: TableRow) -> str:
    """The cells asked for, after the cells that say which row it is; the whole row where no column is asked for."""
    filled = [column for column in range(len(row.cells)) if row.cells[column]]
    labelling = [column for column in filled if not scoring.question.shown_in(row.under(column))]
    label_scores = {column: _match_share(scoring, _NUMBER.sub("", row.cells[column])) for column in labelling}
    best = max(label_scores, key=lambda column: (label_scores[column], -column), default=0)
    labels = sorted({0, best} if label_scores.get(best) else {0})
    rest = [column for column in filled if column not in labels]
    scores = {column: _column_score(scoring, row, column) for column in rest}
    most = max(scores.values(), default=0.0)
    wanted = [column for column in rest if scores[column] >= most > 0]
    return row.in_words(wanted or rest, labels)


def _column_score(scoring: ScoringContext, row: TableRow, column: int) -> float:
    """How well a column fits the question: by its header's words, and by the answer type of the cell."""
    header = row.header[column] if column < len(row.header) else ""
    return _match_share(scoring, header) + (_TYPE_BONUS if scoring.question.shown_in(row.under(column)) else 0.0)


def _match_share(scoring: ScoringContext, text: str) -> float:
    words = set(terms(text))
    return round(scoring.share({term: scoring.matcher.match(term, words) for term in scoring.weights}), 4)


def _with_items(lead: str, items: Sequence[str]) -> str:
    shown: list[str] = []
    for item in items:
        if shown and sum(len(word.split()) for word in [*shown, item]) > _LIST_WORDS:
            break
        shown.append(item.rstrip(" .;,"))
    more = "" if len(shown) == len(items) else "; …"
    return f"{lead.rstrip(' .:')}: {'; '.join(shown)}{more}"


def _cited(text: str, numbers: Sequence[int]) -> str:
    markers = "".join(f"[{number}]" for number in numbers)
    bare = text.rstrip()
    if bare.endswith(".") and not bare.endswith("..."):
        return f"{bare[:-1]} {markers}."
    return f"{bare} {markers}" if re.search(r"[!?…]$", bare) else f"{bare} {markers}."


def _with_full_stop(text: str) -> str:
    bare = text.rstrip()
    return bare if re.search(r"[.!?…]$", bare) else f"{bare}."
