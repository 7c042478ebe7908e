"""Scores how well a unit answers a question, by its words."""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from typing import Final

from serving.pipeline.models.reader.entities import Entities
from serving.pipeline.models.reader.numeric_range import QuestionAmount, question_amount, range_match
from serving.pipeline.models.reader.prompt_task import Passage
from serving.pipeline.models.reader.question import ParsedQuestion
from serving.pipeline.models.reader.term_match import TermMatcher
from serving.pipeline.models.reader.timeliness import timeliness
from serving.pipeline.models.reader.units import Unit
from serving.pipeline.models.reader.words import codes, term_set, terms

_INSTRUCTION: Final = re.compile(
    r"\b(?:ignore|disregard|forget|override)\b.{0,60}\b(?:previous|above|prior|earlier|other|all|any|your)\b.{0,40}\b(?:instruction|rule|passage|document|prompt|text)"
    r"|\b(?:AI|LLM|language models?|chat ?bots?|assistants?|(?:automated|AI) (?:systems?|readers?|agents?|tools?))\b.{0,40}"
    r"\b(?:must|should|shall|has to|have to|reply|answer|respond|state|say|output|tell|is to|are to)\b"
    r"|\bsystem prompt\b|\byou are (?:now )?an? (?:AI|assistant|model|helpful)"
    r"|\b(?:when|if) (?:asked|answering|summari[sz]ing)\b.{0,60}\b(?:reply|answer|respond|say|state|recommend|always)\b"
    r"|\b(?:reply|respond|answer) (?:only )?with\b|\bdo not (?:mention|reveal|tell the user)",
    re.IGNORECASE,
)
_HEADER_WEIGHT: Final = 0.9  # of a term in the header of a row's table
_PLACE_WEIGHTS: Final = {"context": 0.75, "section": 0.65, "title": 0.55, "before": 0.5}  # of a term found there only
_NAMED_CASE: Final = re.compile(r"\A(?:\d{1,4}(?:\.\d{1,4}){0,4}\s{1,3})?([A-Z][\w’' -]{2,40}):\s")
_CLEAR_MATCH: Final = 0.4  # match from which a term counts as found
_MANY: Final = 6  # terms
_MANY_PAIRS: Final = 3
_LONG: Final = 30  # words; a longer sentence finds more terms by chance
WEIGHTS: Final[dict[bool, dict[str, float]]] = {  # fitted: the units that hold the evidence against the others of their prompt
    False: {
        **{"cover": 3.6, "own": 3.7, "passage": 0.7, "heading": 1.1, "near": 0.9, "count": 4.9, "pairs": 0.7, "codes": 0.5, "key": 1.0},
        **{"shown": 0.9, "lacks": -0.9, "figures": 1.2, "range": 1.0, "timely": 1.0, "rank": 1.1, "length": -0.7, "short": -0.3},
        **{"item": 0.5, "aside": -1.0, "focus": 3.0},
    },
    True: {
        **{"cover": 2.9, "own": 2.8, "passage": 1.5, "heading": 0.7, "near": 1.2, "count": 4.2, "pairs": 0.7, "codes": 0.5, "key": 1.0},
        **{"shown": 0.8, "lacks": -0.8, "figures": 1.2, "range": 2.0, "timely": 1.0, "rank": 0.6, "length": -0.6, "short": -0.3},
        **{"item": 0.5, "aside": -2.0, "focus": 3.0, "close": 7.0, "topic": 1.9},
    },
}
_INSTRUCTION_PENALTY: Final = -8.0  # an instruction to a language model is never an answer


@dataclass(frozen=True, slots=True)
class UnitEvidence:
    """A unit with its score for a question."""

    unit: Unit
    score: float
    features: Mapping[str, float]  # by the names of `WEIGHTS`
    matches: Mapping[str, float]  # the question's terms found in the unit or around it, each with its weight
    similarity: float = 0.0  # cosine to the question, where sentences were embedded

    @property
    def cover(self) -> float:
        """The weighted share of the question's terms found in the unit or around it."""
        return self.features["cover"]

    @property
    def shown(self) -> bool:
        """Whether it contains an answer of the expected type."""
        return self.features["shown"] > 0


class TermRarity:
    """Inverse document frequency of terms over the units of the prompt."""

    def __init__(self, units: Sequence[Unit]) -> None:
        self._count = len(units)
        self._units_by_term = Counter(term for unit in units for term in term_set(unit_text(unit)))

    def knows(self, term: str) -> bool:
        """Whether a unit has the term."""
        return term in self._units_by_term

    def of(self, term: str) -> float:
        """The inverse document frequency of a term, at least .2."""
        units_with_term = self._units_by_term[term]
        return max(0.2, math.log(1 + (self._count - units_with_term + 0.5) / (units_with_term + 0.5)))


def unit_text(unit: Unit) -> str:
    """A unit's text, a row with the header's words after each cell: "25 Days per year"."""
    if unit.row is None:
        return unit.text
    return "; ".join(unit.row.under(column) for column in range(len(unit.row.cells)) if unit.row.cells[column])


@dataclass(frozen=True, slots=True)
class ScoringContext:
    """What the score of every unit of a prompt depends on."""

    question: ParsedQuestion
    weights: Mapping[str, float]  # of the question's terms
    matcher: TermMatcher
    timeliness: Mapping[int, float]
    amount: QuestionAmount | None
    entities: Entities
    _found: dict[str, dict[str, float]] = field(default_factory=dict, repr=False, compare=False)  # by text: titles and headings repeat

    def found(self, text: str) -> Mapping[str, float]:
        """The question's terms that a text has, each with how well."""
        if text not in self._found:
            place, match = term_set(text), self.matcher.match
            self._found[text] = {term: value for term in self.weights if (value := match(term, place))} if place else {}
        return self._found[text]

    @classmethod
    def of(cls, question: ParsedQuestion, passages: Sequence[Passage], rarity: TermRarity) -> "ScoringContext":
        """The context for one question."""
        weights = {term: rarity.of(term) for term in question.terms}
        matcher = TermMatcher.of(question, passages)
        entities = Entities.of(question.text, passages, matcher.abbreviated)
        return cls(question, weights, matcher, timeliness(question, passages), question_amount(question.text), entities)

    def share(self, matches: Mapping[str, float]) -> float:
        """The weighted share of the question's terms that these matches cover."""
        return sum(self.weights[term] * match for term, match in matches.items()) / (sum(self.weights.values()) or 1.0)


def score_units(scoring: ScoringContext, units: Sequence[Unit], *, with_similarity: bool) -> list[UnitEvidence]:
    """Every unit with its score, in reading order."""
    by_passage: dict[int, dict[str, float]] = {}
    matched = [_match(scoring, unit) for unit in units]
    for match in matched:
        passage_terms = by_passage.setdefault(match.unit.passage.number, {})
        for term, match_weight in match.own.items():
            passage_terms[term] = max(match_weight, passage_terms.get(term, 0.0))
    own = {match.unit.place: scoring.share(match.own) for match in matched}
    evidence = []
    for match in matched:
        number, index = match.unit.place
        features = _features(scoring, match) | {
            "passage": scoring.share(by_passage[number]),
            "near": max(own.get((number, index - 1), 0.0), own.get((number, index + 1), 0.0)),
        }
        evidence.append(UnitEvidence(match.unit, total_score(features, with_similarity=with_similarity), features, match.anywhere))
    return evidence


def total_score(features: Mapping[str, float], *, with_similarity: bool) -> float:
    """The weighted sum of the features."""
    score = sum(weight * features.get(name, 0.0) for name, weight in WEIGHTS[with_similarity].items())
    return score + _INSTRUCTION_PENALTY * features["orders"]


@dataclass(frozen=True, slots=True)
class _TermMatches:
    """A unit with the question's terms in itself, and those in itself or around it."""

    unit: Unit
    own: Mapping[str, float]
    anywhere: Mapping[str, float]


def _match(scoring: ScoringContext, unit: Unit) -> _TermMatches:
    in_text = scoring.found(unit.text)
    in_header = scoring.found(" ".join(unit.row.header)) if unit.row else {}
    own = {
        term: max(in_text.get(term, 0.0), _HEADER_WEIGHT * in_header.get(term, 0.0))
        for term in scoring.weights
        if term in in_text or term in in_header
    }
    if scoring.amount is not None and range_match(scoring.amount, unit) >= 1.0:
        own |= {term: 1.0 for term in scoring.weights if term == f"{scoring.amount.value:g}"}  # its range holds the number asked about
    anywhere = dict(own)
    for place, text in _surroundings(unit).items():
        for term, match in scoring.found(text).items():
            value = _PLACE_WEIGHTS[place] * match
            if value > anywhere.get(term, 0.0):
                anywhere[term] = value
    return _TermMatches(unit, own, anywhere)


def _surroundings(unit: Unit) -> dict[str, str]:
    return {
        "context": unit.context,
        "section": unit.passage.section,
        "title": unit.passage.title,
        "before": unit.before,
    }


def _features(scoring: ScoringContext, matches: _TermMatches) -> dict[str, float]:
    """The features of a unit from its words, position and kind."""
    unit, anywhere = matches.unit, matches.anywhere
    question, words = scoring.question, terms(unit.text)
    shown = question.shown_in(unit_text(unit))
    return {
        "cover": scoring.share(anywhere),
        "own": scoring.share(matches.own),
        "count": sum(match > _CLEAR_MATCH for match in anywhere.values()) / _MANY,
        "heading": scoring.share({term: 1.0 for term, match in scoring.found(unit.context).items() if match > _CLEAR_MATCH}),
        "shown": float(shown),
        "lacks": float(bool(question.expects) and not shown),
        "pairs": min(_MANY_PAIRS, sum(pair in question.bigrams for pair in pairwise(words))) / _MANY_PAIRS,
        "codes": _share(question.codes, codes(unit.text)),
        "key": _row_key_match(scoring, unit),
        "range": range_match(scoring.amount, unit),
        "timely": scoring.timeliness[unit.passage.number],
        "focus": scoring.entities.focus[unit.passage.number],
        "rank": 1 / unit.passage.number,
        "length": max(0, len(unit.text.split()) - _LONG) / _LONG,
        "short": float(len(words) < 3 and unit.kind == "sentence"),
        "aside": _special_case(scoring, unit),
        "item": float(unit.kind == "item"),
        "figures": float(any(character.isdigit() for character in unit.text)),
        "orders": (0.1 if question.about_models else 1.0) if _instructs(unit.text) else 0.0,
    }


@lru_cache(maxsize=8192)
def _instructs(text: str) -> bool:
    """Whether a text is an instruction to a language model."""
    return _INSTRUCTION.search(text) is not None


def _special_case(scoring: ScoringContext, unit: Unit) -> float:
    """1 where a sentence opens by naming a special case that the question does not ("Legal advice: …"), -1 where it does."""
    match = _NAMED_CASE.match(unit.text) if unit.row is None else None
    if match is None:
        return 0.0
    words = term_set(match[1])
    return -1.0 if any(scoring.matcher.match(term, words) > _CLEAR_MATCH for term in scoring.weights) else 1.0


def _row_key_match(scoring: ScoringContext, unit: Unit) -> float:
    """The weight of a row's first cell, where the question names all of it."""
    if unit.row is None:
        return 0.0
    key = terms(unit.row.cells[0])
    match, weights = scoring.matcher.match, scoring.weights
    matched = [max((weights[name] for name in weights if match(name, {term}) >= _CLEAR_MATCH), default=0.0) for term in key]
    return sum(matched) / (sum(scoring.weights.values()) or 1.0) if matched and all(matched) else 0.0


def _share(expected: Sequence[str], found: Sequence[str]) -> float:
    return sum(code in found for code in expected) / len(expected) if expected else 0.0
