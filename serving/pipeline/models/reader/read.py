"""Answers a brief: finds the units that answer, says them in the prompt's manner, or refuses."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from serving.pipeline.models.reader.brief import Brief
from serving.pipeline.models.reader.doubt import answers
from serving.pipeline.models.reader.evidence import Evidence, Rarity, weigh
from serving.pipeline.models.reader.meaning import Meaning
from serving.pipeline.models.reader.parts import Part, split_question
from serving.pipeline.models.reader.question import Question
from serving.pipeline.models.reader.say import Statement, say, state
from serving.pipeline.models.reader.tally import tally
from serving.pipeline.models.reader.timely import timeliness
from serving.pipeline.models.reader.units import Unit, units_of
from serving.pipeline.models.reader.words import codes, terms

_EMBEDDED: Final = 48  # candidates whose meaning is looked at
_ENOUGH: Final = {"thorough": 0.5, "balanced": 0.72, "concise": 0.86}  # of the best score, for one more statement
_CLOSE: Final = 1.3  # worth of a unit's cosine beside its words
_SURE: Final = 0.6  # cover from which a unit that shows what is asked needs no company
_LONGEST: Final = 600  # characters embedded; more would be cut by the model anyway
_FIGURES: Final = re.compile(r"\d[\d.,]*")
_PART: Final = 0.8  # worth of the part's cosine against the whole question's


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads passages for an answer; with `meaning` it is the larger of the two sizes."""

    meaning: Meaning | None = None

    def read(self, brief: Brief) -> str:
        """The answer in words, or the prompt's refusal."""
        units = units_of(brief.passages)
        if not units or not brief.question:
            return brief.refusal
        rarity = Rarity(units)
        if self.meaning:
            chosen = self._several(brief, units, rarity)
        else:
            chosen = self._one(brief, Part(brief.question), units, rarity, brief.sentences)
        return say(chosen, brief) if chosen else brief.refusal

    def _several(self, brief: Brief, units: Sequence[Unit], rarity: Rarity) -> list[Statement]:
        """Statements for every part of the question, the room shared between them."""
        parts = split_question(brief.question)
        if len(parts) == 1:
            return self._one(brief, parts[0], units, rarity, brief.sentences)
        room = max(1, brief.sentences // len(parts))
        found: list[Statement] = []
        for part in parts:
            found += [statement for statement in self._one(brief, part, units, rarity, room) if not _repeats(statement, found)]
        return found[: brief.sentences]

    def _one(self, brief: Brief, part: Part, units: Sequence[Unit], rarity: Rarity, room: int) -> list[Statement]:
        """Statements for one part."""
        question = Question.of(part.text)
        if part.about:
            lent = Question.of(part.about)
            question = replace(question, terms=tuple(dict.fromkeys([*question.terms, *lent.names, *lent.codes])))
        if not question.terms:
            return []
        weighed = weigh(question, units, rarity)
        if self.meaning:
            weighed = _deeper(question, part.text, brief, weighed, self.meaning)
        ranked = sorted(weighed, key=lambda evidence: (-evidence.score, evidence.unit.place))
        if not answers(question, ranked, deep=self.meaning is not None):
            return []
        if self.meaning:
            over = tally(question, [evidence.unit for evidence in ranked])
            if over:
                return [Statement(over.text, over.unit)]
        picked = _pick(question, ranked, brief, room, rarity, linked=self.meaning is not None)
        return [state(question, evidence, lists=self.meaning is not None) for evidence in picked]


def _deeper(question: Question, asked: str, brief: Brief, weighed: list[Evidence], meaning: Meaning) -> list[Evidence]:
    """The best candidates by words (with their neighbours) weighed again by meaning and by date."""
    timely = timeliness(question, brief.passages)
    looked = _candidates(weighed)
    texts = [_in_context(evidence.unit) for evidence in looked]
    closeness = meaning.closeness(asked, texts)
    if asked != brief.question:  # a part alone has lost what the whole is about
        whole = meaning.closeness(brief.question, texts)
        closeness = [_PART * part + (1 - _PART) * all_of_it for part, all_of_it in zip(closeness, whole, strict=True)]
    return [
        replace(evidence, score=evidence.score + _CLOSE * close + timely[evidence.unit.passage.number], close=close)
        for evidence, close in zip(looked, closeness, strict=True)
    ]


def _candidates(weighed: Sequence[Evidence]) -> list[Evidence]:
    """The best units by their words, and the neighbours of the very best."""
    ranked = sorted(weighed, key=lambda evidence: (-evidence.score, evidence.unit.place))
    places = {evidence.unit.place for evidence in ranked[: _EMBEDDED * 3 // 4]}
    for number, index in [evidence.unit.place for evidence in ranked[: _EMBEDDED // 8]]:
        places |= {(number, index + 1), (number, index - 1)}
    return [evidence for evidence in weighed if evidence.unit.place in places]


def _in_context(unit: Unit) -> str:
    """What is embedded: the unit below its document's title and nearest heading; a row as its bare cells."""
    said = ", ".join(cell for cell in unit.row.cells if cell) if unit.row else unit.text
    above = unit.context.split(" > ")[-1] or unit.passage.section.split(" > ")[-1]
    return f"{', '.join(part for part in (unit.passage.title, above) if part)}: {said}"[:_LONGEST]


def _pick(question: Question, ranked: Sequence[Evidence], brief: Brief, room: int, rarity: Rarity, *, linked: bool) -> list[Evidence]:
    """The best unit, then those that add what the question still lacks."""
    best = ranked[0]
    picked, have = [best], set(best.found)
    other = _counterpart(best, ranked) if linked else None
    if other and question.change and room > 1:
        picked.append(other)
        room = min(room, 3)
    plain = linked and best.shown and best.cover >= _SURE and not (question.wants_list or question.change)
    enough = max(_ENOUGH[brief.style], _ENOUGH["concise"]) if plain else _ENOUGH[brief.style]
    gain = _Gain(best, {term: rarity.of(term) for term in question.terms}, frozenset(codes(best.unit.text)) - set(question.codes), linked)
    pool = list(ranked[1:])
    while pool and len(picked) < room:
        pool.sort(key=lambda evidence: (-gain.of(evidence, frozenset(have)), evidence.unit.place))
        candidate = pool.pop(0)
        if gain.of(candidate, frozenset(have)) < enough * best.score:
            break
        if any(_same(candidate.unit.text, known.unit.text) or candidate.unit.place == known.unit.place for known in picked):
            continue
        if linked and not question.change and candidate.score < best.score - 0.1 and _mirrors(best.unit, candidate.unit):
            continue  # the same clause of another version or party, which was not asked for
        picked.append(candidate)
        have |= candidate.found
    return [best, *sorted(picked[1:], key=lambda evidence: evidence.unit.place)]


@dataclass(frozen=True, slots=True)
class _Gain:
    """What a further unit would add to the best one."""

    best: Evidence
    weights: dict[str, float]
    links: frozenset[str]  # codes that the best unit names and the question does not
    linked: bool

    def of(self, evidence: Evidence, have: frozenset[str]) -> float:
        """Its own score, with points for terms still lacking, for a shared code, and for standing beside the best."""
        new = sum(self.weights[term] for term in sorted(evidence.found - have)) / (sum(self.weights.values()) or 1.0)
        link = 0.1 if self.linked and self.links & set(codes(evidence.unit.text)) else 0.0
        same_block = evidence.unit.block == self.best.unit.block and evidence.unit.passage.number == self.best.unit.passage.number
        return evidence.score + 0.5 * new + link + (0.05 if same_block else 0.0)


def _counterpart(best: Evidence, ranked: Sequence[Evidence]) -> Evidence | None:
    """The unit of another passage that says the same thing with other figures: the other version, site or party."""
    return next((evidence for evidence in ranked[1:] if _mirrors(best.unit, evidence.unit)), None)


def _mirrors(one: Unit, other: Unit) -> bool:
    if one.passage.number == other.passage.number or _FIGURES.findall(one.text) == _FIGURES.findall(other.text):
        return False
    a, b = ({term for term in terms(unit.text) if not term[0].isdigit()} for unit in (one, other))
    return len(a & b) >= 2 and len(a & b) / len(a | b) >= 0.55


def _same(one: str, other: str) -> bool:
    """Whether two sentences say the same words."""
    a, b = set(terms(one)), set(terms(other))
    return bool(a and b) and len(a & b) / len(a | b) >= 0.8 and re.findall(r"\d+", one) == re.findall(r"\d+", other)


def _repeats(statement: Statement, found: Sequence[Statement]) -> bool:
    return any(_same(statement.text, other.text) for other in found)
