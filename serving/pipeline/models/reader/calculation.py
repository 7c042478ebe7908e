"""Works out what a question asks of two or three quoted numbers: a difference, a sum, a product; the formula is shown."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from serving.pipeline.models.reader.evidence import ScoringContext, UnitEvidence
from serving.pipeline.models.reader.question import ParsedQuestion
from serving.pipeline.models.reader.selection import counterpart
from serving.pipeline.models.reader.tables import MONEY, TableRow
from serving.pipeline.models.reader.units import Unit
from serving.pipeline.models.reader.words import codes, term_set

Rank = Callable[[str], Sequence[UnitEvidence]]  # the evidence for another wording of the question, best first

_HOW_MUCH_MORE: Final = re.compile(
    r"\b(?:how (?:much|many)|what)\b.{0,40}?"
    r"\b(?:more|less|fewer|higher|lower|dearer|cheaper|longer|shorter|heavier|lighter|bigger|smaller)\b"
    r"|\bdifference\b|\bby how (?:much|many)\b|\bhow much did\b.{0,80}\b(?:rise|increase|fall|drop|change|go (?:up|down))\b",
    re.IGNORECASE,
)
_IN_ALL: Final = re.compile(r"\b(?:altogether|in all|in total|total|sum|combined|together|all in|plus)\b", re.IGNORECASE)
_COSTS: Final = re.compile(r"\b(?:cost|costs|price|prices|pay|charge|charged|get|back|worth|much)\b", re.IGNORECASE)
_COSTS_MONEY: Final = re.compile(r"\b(?:costs?|prices?|paid|pay|fees?|expensive|dearer|cheaper)\b", re.IGNORECASE)
_QUANTITY: Final = re.compile(
    r"(?<![\w.,-])(\d{1,6}(?:,\d{3}){0,3}|two|three|four|five|six|seven|eight|nine|ten|twelve)(?![\w.,-]{0,9}\d)\s{1,3}([A-Za-z][\w-]{0,30})"
)
_NUMBER_WORDS: Final = {
    **{"two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10, "twelve": 12},
}
_RATE: Final = re.compile(
    rf"(?:(?P<before>{MONEY})\s?)?(?P<value>\d[\d,]{{0,18}}(?:\.\d{{1,9}})?)(?:\s?(?P<after>{MONEY}|[A-Za-z]{{1,12}}))?\s(?:per|an?|each|every)\s(?P<of>[A-Za-z]{{1,20}})"
)
_PRICE: Final = re.compile(
    rf"(?P<before>{MONEY})\s?(?P<one>\d[\d,]{{0,18}}(?:\.\d{{1,9}})?)|(?P<two>\d[\d,]{{0,18}}(?:\.\d{{1,9}})?)\s?(?P<after>{MONEY}|[a-z]{{1,8}}\b)?"
)
_TOKEN: Final = re.compile(r"[\w-]+(?:[./][\w-]+)*")
_YEARLY: Final = re.compile(r"\b(?:per|a|each|every|one|whole) year\b|\byearly\b|\bannual", re.IGNORECASE)
_OPERANDS: Final = 3
_CANDIDATES: Final = 8  # units about an item that its number is looked for in


@dataclass(frozen=True, slots=True)
class Operand:
    """A number as a passage states it."""

    name: str
    value: float
    unit: str
    source: Unit


@dataclass(frozen=True, slots=True)
class Calculation:
    """A result in one sentence with the formula, and the units that the numbers come from."""

    text: str
    sources: tuple[Unit, ...]
    quoted: bool = False  # the source says more than the number, a limit perhaps: it is to be quoted as well


def multipliers(question: str) -> frozenset[str]:
    """The numbers of a question about money that say how many of a thing are paid for: no passage needs to state them."""
    if not _COSTS_MONEY.search(question):
        return frozenset()
    return frozenset(match[1].replace(",", "").lower() for match in _QUANTITY.finditer(question))


def calculate(scoring: ScoringContext, ranked: Sequence[UnitEvidence], rank: Rank, *, answerable: bool) -> Calculation | None:
    """The result that the question asks for, or nothing where it asks for none or where a number is not stated.

    A question that its best evidence alone does not answer is worked out only for items that it names by their codes.
    """
    question = scoring.question
    if _HOW_MUCH_MORE.search(question.text):
        return _difference(scoring, ranked, rank, answerable=answerable)
    items = _items(question)
    if _IN_ALL.search(question.text) and len(items) >= 2:
        return _sum(_operands(items, question, rank))
    return _product(scoring, ranked[0].unit) if answerable or any(_is_about(item, ranked[0].unit) for item in items) else None


def _difference(scoring: ScoringContext, ranked: Sequence[UnitEvidence], rank: Rank, *, answerable: bool) -> Calculation | None:
    question, items = scoring.question, _items(scoring.question)
    versions = _versions(scoring, ranked) if answerable and len(items) != 2 else []
    operands = _operands(items, question, rank) if len(items) == 2 else versions
    if len(operands) != 2 or operands[0].unit != operands[1].unit or operands[0].value == operands[1].value:
        return None
    more, less = sorted(operands, key=lambda operand: -operand.value)
    result = _amount(more.value - less.value, more.unit)
    return Calculation(f"{_named(more)} − {_named(less)} = {result}", (more.source, less.source))


def _sum(operands: Sequence[Operand]) -> Calculation | None:
    if len(operands) < 2 or len({operand.unit for operand in operands}) > 1:
        return None
    result = _amount(sum(operand.value for operand in operands), operands[0].unit)
    return Calculation(f"{' + '.join(map(_named, operands))} = {result}", tuple(operand.source for operand in operands))


def _product(scoring: ScoringContext, best: Unit) -> Calculation | None:
    """So many of a thing that has a price, or so many units of what is paid per unit."""
    question = scoring.question
    if not _COSTS.search(question.text):
        return None
    quantities = [(_count(match[1]), match[2]) for match in _QUANTITY.finditer(question.text)]
    if not quantities and _YEARLY.search(question.text):
        quantities = [(12.0, "months")]
    for count, of in quantities:
        for rate in _RATE.finditer(best.text):
            if _same_measure(rate["of"], of):
                value, unit = _value(rate["value"]), rate["before"] or rate["after"] or ""
                result = _amount(value * count, unit)
                return Calculation(f"{count:g} {of} × {_amount(value, unit)} per {rate['of']} = {result}", (best,), quoted=True)
        operand = _stated(question, best, best.row.cells[0] if best.row else "")
        if operand and re.fullmatch(MONEY, operand.unit) and _is_item(of, question, best):
            result = _amount(operand.value * count, operand.unit)
            return Calculation(f"{count:g} × {_named(operand)} = {result}", (best,))
    return None


def _items(question: ParsedQuestion) -> list[str]:
    """The codes that a question names, each once as it is written."""
    found = [match for match in _TOKEN.findall(question.text) if match.lower() in question.codes]
    return list(dict.fromkeys(found))[: _OPERANDS + 1]


def _operands(items: Sequence[str], question: ParsedQuestion, rank: Rank) -> list[Operand]:
    """Each item's number: that of the best evidence for the question with the other items left out; empty where one has none."""
    operands, in_money = [], question.expects == "money" or bool(_COSTS_MONEY.search(question.text))
    for item in items[:_OPERANDS]:
        others = [other for other in items if other != item]
        wording = question.text
        for other in others:
            wording = re.sub(rf"(?<![\w-]){re.escape(other)}(?![\w-])", " ", wording)
        about = [evidence for evidence in rank(wording) if _is_about(item, evidence.unit)]
        rows_first = sorted(about[:_CANDIDATES], key=lambda evidence: evidence.unit.row is None)
        stated = (_stated(question, evidence.unit, item) for evidence in rows_first)
        found = next((operand for operand in stated if operand and (not in_money or re.fullmatch(MONEY, operand.unit))), None)
        if found is None:
            return []
        operands.append(found)
    return operands if len(items) <= _OPERANDS else []


def _is_about(item: str, unit: Unit) -> bool:
    """Whether a unit is about an item: a row by its first cell, a sentence by naming it."""
    return item.lower() in codes(unit.row.cells[0] if unit.row else _own_text(unit))


def _own_text(unit: Unit) -> str:
    return f"{unit.text} {unit.passage.title}" if unit.row is None else " ".join(unit.row.cells[:2])


def _versions(scoring: ScoringContext, ranked: Sequence[UnitEvidence]) -> list[Operand]:
    """The number of the best evidence, and the one that another version of its document has in its place, each named by its edition."""
    other = counterpart(ranked[0], ranked)
    if other is None or _undated(other.unit.passage.title) != _undated(ranked[0].unit.passage.title):
        return []
    operands = []
    for unit in (ranked[0].unit, other.unit):
        key = unit.row.cells[0] if unit.row else ""
        passage = unit.passage
        edition = passage.title if re.search(r"\d", passage.title) else f"{passage.title} {passage.version or passage.effective}".strip()
        stated = _stated(scoring.question, unit, ", ".join(part for part in (key, edition) if part))
        if stated is None:
            return []
        operands.append(stated)
    return operands


def _undated(title: str) -> str:
    """A title without its year or version, which the editions of a document share."""
    return " ".join(word for word in title.split() if not any(map(str.isdigit, word)))


def _stated(question: ParsedQuestion, unit: Unit, name: str) -> Operand | None:
    """The number of a unit that the question asks for."""
    wanted = frozenset(question.terms)
    return _from_row(unit, wanted, question, name) if unit.row else _from_sentence(unit, wanted, name)


def _from_row(unit: Unit, wanted: frozenset[str], question: ParsedQuestion, name: str) -> Operand | None:
    """The number in the one column that fits the question best."""
    row = unit.row
    if row is None:
        return None
    columns = [column for column in range(1, len(row.cells)) if (row.measure(column) and _mostly_number(row.cells[column]))]
    ranked = sorted(columns, key=lambda column: (-_fit(row, column, wanted, question), column))
    if not ranked or (len(ranked) > 1 and _fit(row, ranked[0], wanted, question) == _fit(row, ranked[1], wanted, question)):
        return None
    measure = row.measure(ranked[0])
    return Operand(name, measure[0], measure[1], unit) if measure else None


def _fit(row: TableRow, column: int, wanted: frozenset[str], question: ParsedQuestion) -> float:
    header = row.header[column] if column < len(row.header) else ""
    return len(wanted & term_set(header)) + 0.5 * question.shown_in(row.under(column))


def _mostly_number(cell: str) -> bool:
    return len(cell) <= 40 and sum(character.isdigit() for character in cell) * 3 >= len(cell)


def _from_sentence(unit: Unit, wanted: frozenset[str], name: str) -> Operand | None:
    """The amount in the part of a sentence that has most of the question."""
    best: tuple[float, Operand] | None = None
    for part in re.split(r"[,;:]\s|\band\b", unit.text):
        match = next((match for match in _PRICE.finditer(part) if match["before"] or match["after"]), None)
        if match is None:
            continue
        fit = len(wanted & term_set(part))
        if best is None or fit > best[0]:
            best = fit, Operand(name, _value(match["one"] or match["two"]), match["before"] or match["after"], unit)
    return best[1] if best else None


def _is_item(word: str, question: ParsedQuestion, unit: Unit) -> bool:
    """Whether what is counted is the thing that the unit prices: its code, or a word for it beside the code."""
    if any(code in codes(_own_text(unit)) for code in question.codes):
        return True
    return unit.row is not None and bool(term_set(word) & term_set(" ".join(unit.row.cells[:2])))


def _same_measure(one: str, other: str) -> bool:
    return _singular(one) == _singular(other)


def _singular(word: str) -> str:
    lower = word.lower()
    return {"kilometre": "km", "kilometer": "km", "hour": "h"}.get(lower.rstrip("s"), lower.rstrip("s") if len(lower) > 2 else lower)


def _count(text: str) -> float:
    return float(_NUMBER_WORDS.get(text.lower()) or text.replace(",", ""))


def _value(text: str) -> float:
    return float(text.rstrip(",").replace(",", ""))


def _named(operand: Operand) -> str:
    return f"{_amount(operand.value, operand.unit)} ({operand.name})" if operand.name else _amount(operand.value, operand.unit)


def _amount(value: float, unit: str) -> str:
    number = f"{value:,.2f}".removesuffix(".00")
    return f"{number} {unit}".strip()
