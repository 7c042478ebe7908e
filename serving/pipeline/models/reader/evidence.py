"""How well a unit answers a question, by its words."""

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from serving.pipeline.models.reader.question import Question
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
_IN_CONTEXT: Final = 0.75  # worth of a term found above the unit and not in it
_IN_SECTION: Final = 0.65
_IN_TITLE: Final = 0.55
_BEFORE: Final = 0.5
_RANK: Final = 0.02  # worth of standing in the first passage
_SHOWN: Final = 0.25  # worth of showing the kind of thing asked for


@dataclass(frozen=True, slots=True)
class Evidence:
    """A unit held against a question."""

    unit: Unit
    score: float
    cover: float  # weight of the question's terms found in the unit or around it
    own: float  # the same, in the unit itself
    shown: bool  # it shows the kind of thing the question expects
    found: frozenset[str]  # the question's terms found
    close: float = 0.0  # cosine to the question, where meaning was asked


class Rarity:
    """How much a term tells among the given passages; one that none of them has tells most."""

    def __init__(self, units: Sequence[Unit]) -> None:
        self._count = len(units)
        self._found = Counter(term for unit in units for term in set(terms(unit.text)))

    def of(self, term: str) -> float:
        """Inverse document frequency over units, at least .2."""
        found = self._found[term]
        return max(0.2, math.log(1 + (self._count - found + 0.5) / (found + 0.5)))


def weigh(question: Question, units: Sequence[Unit], rarity: Rarity) -> list[Evidence]:
    """Every unit as evidence, in reading order."""
    weights = {term: rarity.of(term) for term in question.terms}
    total = sum(weights.values()) or 1.0
    return [_weigh(question, unit, weights, total) for unit in units]


def _weigh(question: Question, unit: Unit, weights: dict[str, float], total: float) -> Evidence:
    words = terms(unit.text)
    own = set(words)
    header = " ".join(unit.row.header) if unit.row else ""
    places = (
        (set(terms(f"{unit.context} {header}")), _IN_CONTEXT),
        (set(terms(unit.passage.section)), _IN_SECTION),
        (set(terms(unit.passage.title)), _IN_TITLE),
        (set(terms(unit.before)), _BEFORE),
    )
    cover = direct = 0.0
    found: set[str] = set()
    for term, weight in weights.items():
        worth = 1.0 if term in own else max((value for place, value in places if term in place), default=0.0)
        cover += weight * worth
        direct += weight if worth == 1.0 else 0.0
        if worth:
            found.add(term)
    cover, direct = cover / total, direct / total

    shown = question.shown_in(unit.text)
    pairs = sum(pair in question.bigrams for pair in pairwise(words))
    score = 0.7 * cover + 0.3 * direct
    score += min(0.12, 0.04 * pairs)
    score += _SHOWN if shown else 0.0
    score += 0.25 * _share(question.codes, codes(unit.text)) if question.codes else 0.0
    score -= 0.004 * max(0, len(unit.text.split()) - 30)  # a long sentence finds more terms by chance
    score -= 0.25 if len(words) < 3 and unit.kind == "sentence" else 0.0
    score += _RANK / unit.passage.number
    if _ORDERS.search(unit.text):
        score -= 0.1 if question.about_models else 1.5
    return Evidence(unit, score, cover, direct, shown, frozenset(found))


def _share(wanted: Sequence[str], present: Sequence[str]) -> float:
    return sum(code in present for code in wanted) / len(wanted)
