"""Words the selected units: rows as sentences, lists with their lead-in, citations by the rule of the prompt."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from serving.pipeline.models.reader.evidence import ScoringContext, UnitEvidence
from serving.pipeline.models.reader.numeric_range import column_with
from serving.pipeline.models.reader.prompt_task import PromptTask
from serving.pipeline.models.reader.tables import TableRow
from serving.pipeline.models.reader.timeliness import is_outdated
from serving.pipeline.models.reader.units import Unit
from serving.pipeline.models.reader.words import term_set

_NUMBER: Final = re.compile(r"\b\d[\d.,]*\b")  # a number alone names no row
_CLAUSE: Final = re.compile(r"^\W*\d{1,2}(?:\.\d{1,2})+\s+(?=[A-Z](?![A-Z]{2}\b))")  # "4.2 The …"; no amount: "12.50 USD"
_ASKS_CLAUSE: Final = re.compile(r"\b(?:clause|section|paragraph|article|rule|number)s?\b", re.IGNORECASE)
_TYPE_BONUS: Final = 0.3  # worth of showing the kind of thing asked for, beside the share of the question in the header
_KEY: Final = re.compile(r"\b(?:[A-Z]{2,}|[A-Z]?\d[\w.]*)\b")
_CLEAR_MATCH: Final = 0.4
_LIST_WORDS: Final = 110  # a longer list is cut after a whole item


@dataclass(frozen=True, slots=True)
class Statement:
    """One sentence of the answer, and the unit it comes from."""

    text: str
    unit: Unit
    also: tuple[Unit, ...] = ()  # other units that it stands on

    @property
    def numbers(self) -> tuple[int, ...]:
        """The passages that it stands on, in order."""
        return tuple(sorted({unit.passage.number for unit in (self.unit, *self.also)}))


def statement_of(scoring: ScoringContext, evidence: UnitEvidence, *, lists: bool) -> Statement:
    """The statement that a unit makes about a question; one that no longer holds says so."""
    statement = _bare_statement(scoring, evidence, lists=lists)
    passage = evidence.unit.passage
    if not is_outdated(passage):
        return statement
    source = ", ".join(part for part in (passage.title, passage.status) if part)
    return replace(statement, text=f"{statement.text.rstrip().removesuffix('.')} ({source})")


def _bare_statement(scoring: ScoringContext, evidence: UnitEvidence, *, lists: bool) -> Statement:
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
        return " ".join(_cited(statement.text, statement.numbers) for statement in statements)
    texts = [_with_full_stop(statement.text) for statement in statements]
    if task.citations == "some":
        numbers = tuple(sorted({number for statement in statements for number in statement.numbers}))
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
    return row.in_words(_asked_columns(scoring, row, rest) or rest, labels)


def _asked_columns(scoring: ScoringContext, row: TableRow, columns: Sequence[int]) -> list[int]:
    """The columns that the question asks for: by range, by the keys in their headers (S2, 2026, LDS), then by words and answer type."""
    in_range = column_with(scoring.amount, row.header)
    if in_range in columns:
        return [in_range] if in_range is not None else []
    named = {column: _named_keys(scoring, row, column) for column in columns}
    most_named = max(named.values(), default=0.0)
    columns = [column for column in columns if named[column] >= most_named]
    any_header = _match_share(scoring, " ".join(row.header)) or 1.0
    scores = {column: _column_score(scoring, row, column, any_header) for column in columns}
    most = max(scores.values(), default=0.0)
    return [column for column in columns if scores[column] >= most > 0 or most_named > 0]


def _named_keys(scoring: ScoringContext, row: TableRow, column: int) -> float:
    """The weight of the question's terms that are a code, a number or an abbreviation in a header."""
    header = row.header[column] if column < len(row.header) else ""
    keys = {key.lower() for key in _KEY.findall(header)}
    return round(sum(weight for term, weight in scoring.weights.items() if keys and scoring.matcher.match(term, keys) >= _CLEAR_MATCH), 4)


def _column_score(scoring: ScoringContext, row: TableRow, column: int, any_header: float) -> float:
    """How well a column fits the question: by its header's share of the words that any header has, and by the answer type of the cell."""
    header = row.header[column] if column < len(row.header) else ""
    return _match_share(scoring, header) / any_header + (_TYPE_BONUS if scoring.question.shown_in(row.under(column)) else 0.0)


def _match_share(scoring: ScoringContext, text: str) -> float:
    words = term_set(text)
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
