"""Chooses what to say: the best unit, and others only for what they add to it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from serving.pipeline.models.reader.brief import Style
from serving.pipeline.models.reader.evidence import Scales, UnitEvidence
from serving.pipeline.models.reader.units import Unit
from serving.pipeline.models.reader.words import terms


@dataclass(frozen=True, slots=True)
class Manner:
    """What a further statement must bring: scores are logarithms, so 1 behind the best is e times less likely to answer."""

    adds: float  # share of the question's weight that it newly covers
    behind: float  # how far its score may lie behind the best one's
    beside: float  # the same for a unit of the best one's passage, which need not cover more
    most: int
    focused: bool = False  # it must name the rarest thing that the best one has of the question


_SIMPLE: Final[Mapping[Style, Manner]] = {  # the question asks one thing
    "thorough": Manner(adds=0.04, behind=1.5, beside=2.5, most=4),
    "balanced": Manner(adds=0.05, behind=1.0, beside=2.0, most=3, focused=True),
    "concise": Manner(adds=1.0, behind=0.0, beside=0.0, most=1),
}
_COMPOUND: Final[Mapping[Style, Manner]] = {  # several things, two sides, a list
    "thorough": Manner(adds=0.03, behind=2.5, beside=3.5, most=6),
    "balanced": Manner(adds=0.03, behind=2.0, beside=3.5, most=4),
    "concise": Manner(adds=0.15, behind=1.0, beside=1.0, most=2),
}
_EXCEPTION: Final = re.compile(r"\b(?:unless|except|only if|however|but not|does not apply|apart from|instead of|exempt)", re.IGNORECASE)
_FIGURES: Final = re.compile(r"\d[\d.,]*")
_CLEARLY: Final = 0.4
_MIRROR_TERMS: Final = 2
_MIRROR_SHARE: Final = 0.55


def pick(scales: Scales, ranked: Sequence[UnitEvidence], style: Style, room: int, *, compound: bool) -> list[UnitEvidence]:
    """The best unit first, then the other side of a comparison, what brings more of the answer, and the rule's exception."""
    best, question = ranked[0], scales.question
    manner = (_COMPOUND if compound or question.change or question.wants_list else _SIMPLE)[style]
    picked, room = [best], min(room, manner.most)
    other = counterpart(best, ranked) if question.change and room > 1 else None
    if other is not None:
        return [best, other]
    for candidate in ranked[1:]:
        if len(picked) >= room:
            break
        if _brings(scales, candidate, picked, manner) and not _repeats(candidate, picked):
            picked.append(candidate)
    exception = _exception(best, ranked) if len(picked) < room else None
    if exception is not None and not _repeats(exception, picked):
        picked.append(exception)
    return picked


def _brings(scales: Scales, candidate: UnitEvidence, picked: Sequence[UnitEvidence], manner: Manner) -> bool:
    """Whether a unit adds to those picked: it covers more of the question, or goes on about it in the same passage."""
    best = picked[0]
    if candidate.marks["aside"] > 0 or (scales.question.expects and best.shown and not candidate.shown):
        return False
    if best.marks["key"] and candidate.unit.table is best.unit.table and not candidate.marks["key"]:
        return False  # another row than the one asked for
    if manner.focused and not _on_subject(scales, candidate, best):
        return False
    behind = best.score - candidate.score
    if candidate.unit.passage.number == best.unit.passage.number and behind <= manner.beside:
        return True
    return behind <= manner.behind and _adds(scales, candidate, picked) >= manner.adds


def _on_subject(scales: Scales, candidate: UnitEvidence, best: UnitEvidence) -> bool:
    """Whether a unit names the rarest term that the best one has of the question, or goes on in its paragraph or list."""
    same_passage = candidate.unit.passage.number == best.unit.passage.number
    if same_passage and candidate.unit.block == best.unit.block and candidate.unit.kind != "row":
        return True
    clear = [term for term, worth in best.found.items() if worth > _CLEARLY]
    return not clear or candidate.found.get(max(clear, key=lambda term: (scales.weights[term], term)), 0.0) > _CLEARLY


def counterpart(best: UnitEvidence, ranked: Sequence[UnitEvidence]) -> UnitEvidence | None:
    """The unit of another passage that says the same thing with other figures: the other version, site or party."""
    return next((evidence for evidence in ranked[1:] if _mirrors(best.unit, evidence.unit)), None)


def same(one: str, other: str) -> bool:
    """Whether two texts say the same words and figures."""
    a, b = set(terms(one)), set(terms(other))
    return bool(a and b) and len(a & b) / len(a | b) >= 0.8 and re.findall(r"\d+", one) == re.findall(r"\d+", other)


def _adds(scales: Scales, candidate: UnitEvidence, picked: Sequence[UnitEvidence]) -> float:
    """The share of the question's weight that a unit covers better than those picked do."""
    have = {term: max(known.found.get(term, 0.0) for known in picked) for term in candidate.found}
    return scales.share({term: max(0.0, worth - have[term]) for term, worth in candidate.found.items()})


def _exception(best: UnitEvidence, ranked: Sequence[UnitEvidence]) -> UnitEvidence | None:
    """The sentence next to the best one that limits it."""
    place = best.unit.place
    for evidence in ranked:
        unit = evidence.unit
        near = unit.passage.number == place[0] and unit.block == best.unit.block and unit.index == place[1] + 1
        if near and unit.kind == best.unit.kind != "row" and _EXCEPTION.search(unit.text):
            return evidence
    return None


def _repeats(candidate: UnitEvidence, picked: Sequence[UnitEvidence]) -> bool:
    """Whether a unit was picked, says the same again, or is the same clause of another version or party."""
    return any(
        candidate.unit.place == known.unit.place or same(candidate.unit.text, known.unit.text) or _mirrors(known.unit, candidate.unit)
        for known in picked
    )


def _mirrors(one: Unit, other: Unit) -> bool:
    if one.passage.number == other.passage.number or _FIGURES.findall(one.text) == _FIGURES.findall(other.text):
        return False
    a, b = ({term for term in terms(unit.text) if not term[0].isdigit()} for unit in (one, other))
    if one.row is not None and other.row is not None and one.row.header == other.row.header:
        return one.row.cells[0] == other.row.cells[0]
    return len(a & b) >= _MIRROR_TERMS and len(a & b) / len(a | b) >= _MIRROR_SHARE
