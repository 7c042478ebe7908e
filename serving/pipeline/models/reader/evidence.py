"""How well a unit answers a question, by its words."""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from serving.pipeline.models.reader.bounds import AskedAmount, asked_amount, fits
from serving.pipeline.models.reader.brief import Passage
from serving.pipeline.models.reader.likeness import Likeness
from serving.pipeline.models.reader.question import ParsedQuestion
from serving.pipeline.models.reader.timely import timeliness
from serving.pipeline.models.reader.units import Unit
from serving.pipeline.models.reader.words import codes, terms

_ORDERS: Final = re.compile(
    r"\b(?:ignore|disregard|forget|override)\b.{0,60}\b(?:previous|above|prior|earlier|other|all|any|your)\b.{0,40}\b(?:instruction|rule|passage|document|prompt|text)"
    r"|\b(?:AI|LLM|language models?|chat ?bots?|assistants?|(?:automated|AI) (?:systems?|readers?|agents?|tools?))\b.{0,40}"
    r"\b(?:must|should|shall|has to|have to|reply|answer|respond|state|say|output|tell|is to|are to)\b"
    r"|\bsystem prompt\b|\byou are (?:now )?an? (?:AI|assistant|model|helpful)"
    r"|\b(?:when|if) (?:asked|answering|summari[sz]ing)\b.{0,60}\b(?:reply|answer|respond|say|state|recommend|always)\b"
    r"|\b(?:reply|respond|answer) (?:only )?with\b|\bdo not (?:mention|reveal|tell the user)",
    re.IGNORECASE,
)
_IN_HEADER: Final = 0.9  # worth of a term that the header of a row's table has
_PLACES: Final = {"context": 0.75, "section": 0.65, "title": 0.55, "before": 0.5}  # worth of a term found there only
_TOPIC: Final = re.compile(r"(?:\d+(?:\.\d+)*\s+)?([A-Z][\w’' -]{2,40}):\s")
_CLEARLY: Final = 0.4  # worth from which a term counts as found
_MANY: Final = 6  # terms
_MANY_PAIRS: Final = 3
_LONG: Final = 30  # words; a longer sentence finds more terms by chance
WEIGHTS: Final[dict[bool, dict[str, float]]] = {  # fitted: the units that hold the evidence against the others of their prompt
    False: {
        **{"cover": 3.6, "own": 3.7, "passage": 0.7, "heading": 1.1, "near": 0.9, "count": 4.9, "pairs": 0.7, "codes": 0.5, "key": 1.0},
        **{"shown": 0.9, "lacks": -0.9, "figures": 1.2, "range": 1.0, "timely": 1.0, "rank": 1.1, "length": -0.7, "short": -0.3},
        **{"item": 0.5, "aside": -1.0},
    },
    True: {
        **{"cover": 2.9, "own": 2.8, "passage": 1.5, "heading": 0.7, "near": 1.2, "count": 4.2, "pairs": 0.7, "codes": 0.5, "key": 1.0},
        **{"shown": 0.8, "lacks": -0.8, "figures": 1.2, "range": 2.0, "timely": 1.0, "rank": 0.6, "length": -0.6, "short": -0.3},
        **{"item": 0.5, "aside": -2.0, "close": 7.0, "topic": 1.9},
    },
}
_FOR_ORDERS: Final = -8.0  # an instruction to a language model is never an answer


@dataclass(frozen=True, slots=True)
class UnitEvidence:
    """A unit held against a question."""

    unit: Unit
    score: float
    marks: Mapping[str, float]  # what the score is made of, by the names of `WEIGHTS`
    found: Mapping[str, float]  # the question's terms found in the unit or around it, and what each place is worth
    close: float = 0.0  # cosine to the question, where meaning was asked

    @property
    def cover(self) -> float:
        """The share of the question's weight found in the unit or around it."""
        return self.marks["cover"]

    @property
    def shown(self) -> bool:
        """Whether it shows the kind of thing the question expects."""
        return self.marks["shown"] > 0


class Rarity:
    """How much a term tells among the given passages; one that none of them has tells most."""

    def __init__(self, units: Sequence[Unit]) -> None:
        self._count = len(units)
        self._found = Counter(term for unit in units for term in set(terms(said(unit))))

    def of(self, term: str) -> float:
        """Inverse document frequency over units, at least .2."""
        found = self._found[term]
        return max(0.2, math.log(1 + (self._count - found + 0.5) / (found + 0.5)))


def said(unit: Unit) -> str:
    """A unit's text, a row with the header's words after each cell: "25 Days per year"."""
    if unit.row is None:
        return unit.text
    return "; ".join(unit.row.under(column) for column in range(len(unit.row.cells)) if unit.row.cells[column])


@dataclass(frozen=True, slots=True)
class Scales:
    """What every unit of a prompt is weighed by."""

    question: ParsedQuestion
    weights: Mapping[str, float]  # of the question's terms
    likeness: Likeness
    timely: Mapping[int, float]
    asked: AskedAmount | None

    @classmethod
    def of(cls, question: ParsedQuestion, passages: Sequence[Passage], rarity: Rarity) -> "Scales":
        """The scales for one question."""
        weights = {term: rarity.of(term) for term in question.terms}
        return cls(question, weights, Likeness.of(question, passages), timeliness(question, passages), asked_amount(question.text))

    def share(self, found: Mapping[str, float]) -> float:
        """The share of the question's weight that some findings are worth."""
        return sum(self.weights[term] * worth for term, worth in found.items()) / (sum(self.weights.values()) or 1.0)


def weigh(scales: Scales, units: Sequence[Unit], *, deep: bool) -> list[UnitEvidence]:
    """Every unit as evidence, in reading order."""
    around: dict[int, dict[str, float]] = {}
    weighed = [_find(scales, unit) for unit in units]
    for finding in weighed:
        seen = around.setdefault(finding.unit.passage.number, {})
        for term, worth in finding.own.items():
            seen[term] = max(worth, seen.get(term, 0.0))
    own = {finding.unit.place: scales.share(finding.own) for finding in weighed}
    out = []
    for finding in weighed:
        number, index = finding.unit.place
        marks = _marks(scales, finding) | {
            "passage": scales.share(around[number]),
            "near": max(own.get((number, index - 1), 0.0), own.get((number, index + 1), 0.0)),
        }
        out.append(UnitEvidence(finding.unit, total(marks, deep=deep), marks, finding.everywhere))
    return out


def total(marks: Mapping[str, float], *, deep: bool) -> float:
    """The score that marks add up to."""
    score = sum(weight * marks.get(name, 0.0) for name, weight in WEIGHTS[deep].items())
    return score + _FOR_ORDERS * marks["orders"]


@dataclass(frozen=True, slots=True)
class _Finding:
    """A unit with the question's terms in itself, and those in itself or around it."""

    unit: Unit
    own: Mapping[str, float]
    everywhere: Mapping[str, float]


def _find(scales: Scales, unit: Unit) -> _Finding:
    worth = scales.likeness.worth
    inside = set(terms(unit.text))
    header = set(terms(" ".join(unit.row.header))) if unit.row else set()
    own = {term: value for term in scales.weights if (value := max(worth(term, inside), _IN_HEADER * worth(term, header)))}
    if scales.asked is not None and fits(scales.asked, unit) >= 1.0:
        own |= {term: 1.0 for term in scales.weights if term == f"{scales.asked.value:g}"}  # its range holds the number asked about
    everywhere = dict(own)
    for place, words in _around(unit).items():
        for term in scales.weights:
            value = _PLACES[place] * worth(term, words)
            if value > everywhere.get(term, 0.0):
                everywhere[term] = value
    return _Finding(unit, own, everywhere)


def _around(unit: Unit) -> dict[str, AbstractSet[str]]:
    texts = {
        "context": unit.context,
        "section": unit.passage.section,
        "title": unit.passage.title,
        "before": unit.before,
    }
    return {place: set(terms(text)) for place, text in texts.items()}


def _marks(scales: Scales, finding: _Finding) -> dict[str, float]:
    """What is told by a unit's words, place and kind."""
    unit, everywhere = finding.unit, finding.everywhere
    above = set(terms(unit.context))
    question, words = scales.question, terms(unit.text)
    shown = question.shown_in(said(unit))
    return {
        "cover": scales.share(everywhere),
        "own": scales.share(finding.own),
        "count": sum(worth > _CLEARLY for worth in everywhere.values()) / _MANY,
        "heading": scales.share({term: 1.0 for term in scales.weights if scales.likeness.worth(term, above) > _CLEARLY}),
        "shown": float(shown),
        "lacks": float(bool(question.expects) and not shown),
        "pairs": min(_MANY_PAIRS, sum(pair in question.bigrams for pair in pairwise(words))) / _MANY_PAIRS,
        "codes": _share(question.codes, codes(unit.text)),
        "key": _key(scales, unit),
        "range": fits(scales.asked, unit),
        "timely": scales.timely[unit.passage.number],
        "rank": 1 / unit.passage.number,
        "length": max(0, len(unit.text.split()) - _LONG) / _LONG,
        "short": float(len(words) < 3 and unit.kind == "sentence"),
        "aside": _aside(scales, unit),
        "item": float(unit.kind == "item"),
        "figures": float(any(character.isdigit() for character in unit.text)),
        "orders": (0.1 if question.about_models else 1.0) if _ORDERS.search(unit.text) else 0.0,
    }


def _aside(scales: Scales, unit: Unit) -> float:
    """1 where a sentence opens by naming a special case that the question does not ("Legal advice: …"), -1 where it does."""
    match = _TOPIC.match(unit.text) if unit.row is None else None
    if match is None:
        return 0.0
    words = set(terms(match[1]))
    return -1.0 if any(scales.likeness.worth(term, words) > _CLEARLY for term in scales.weights) else 1.0


def _key(scales: Scales, unit: Unit) -> float:
    """The weight of a row's first cell, where the question names all of it."""
    if unit.row is None:
        return 0.0
    key = terms(unit.row.cells[0])
    worth, weights = scales.likeness.worth, scales.weights
    named = [max((weights[asked] for asked in weights if worth(asked, {term}) >= _CLEARLY), default=0.0) for term in key]
    return sum(named) / (sum(scales.weights.values()) or 1.0) if named and all(named) else 0.0


def _share(wanted: Sequence[str], present: Sequence[str]) -> float:
    return sum(code in present for code in wanted) / len(wanted) if wanted else 0.0
