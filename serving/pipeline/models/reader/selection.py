"""Selects the units of an answer: the best one, and others only for what they add."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from serving.pipeline.models.reader.evidence import ScoringContext, UnitEvidence
from serving.pipeline.models.reader.prompt_task import AnswerStyle
from serving.pipeline.models.reader.units import Unit
from serving.pipeline.models.reader.words import term_set, terms


@dataclass(frozen=True, slots=True)
class SelectionLimits:
    """The limits for further units; scores are log-odds, so 1 behind the best is e times less likely to answer."""

    least_added: float  # share of the question's weight that the unit newly covers
    most_behind: float  # how far its score may lie behind the best one's
    most_behind_in_passage: float  # the same for a unit of the best one's passage, which need not cover more
    most_units: int
    same_subject: bool = False  # it must contain the rarest question term of the best unit


_SIMPLE: Final[Mapping[AnswerStyle, SelectionLimits]] = {  # simple questions
    "thorough": SelectionLimits(least_added=0.04, most_behind=1.5, most_behind_in_passage=2.5, most_units=4),
    "balanced": SelectionLimits(least_added=0.05, most_behind=1.0, most_behind_in_passage=2.0, most_units=3, same_subject=True),
    "concise": SelectionLimits(least_added=1.0, most_behind=0.0, most_behind_in_passage=0.0, most_units=1),
}
_COMPOUND: Final[Mapping[AnswerStyle, SelectionLimits]] = {  # compound questions, comparisons, lists
    "thorough": SelectionLimits(least_added=0.03, most_behind=2.5, most_behind_in_passage=3.5, most_units=6),
    "balanced": SelectionLimits(least_added=0.03, most_behind=2.0, most_behind_in_passage=3.5, most_units=4),
    "concise": SelectionLimits(least_added=0.15, most_behind=1.0, most_behind_in_passage=1.0, most_units=2),
}
_EXCEPTION: Final = re.compile(r"\b(?:unless|except|only if|however|but not|does not apply|apart from|instead of|exempt)", re.IGNORECASE)
_FIGURES: Final = re.compile(r"\d[\d.,]*")
_CLEAR_MATCH: Final = 0.4
_VARIANT_TERMS: Final = 2
_VARIANT_SHARE: Final = 0.55


def select_units(
    scoring: ScoringContext, ranked: Sequence[UnitEvidence], style: AnswerStyle, most: int, *, compound: bool
) -> list[UnitEvidence]:
    """The best unit, the other side of a comparison or what adds to the answer, and the exception to the rule."""
    best, question = ranked[0], scoring.question
    limits = (_COMPOUND if compound or question.change or question.wants_list else _SIMPLE)[style]
    selected, most = [best], min(most, limits.most_units)
    other = counterpart(best, ranked) if question.change and most > 1 else None
    if other is not None:
        return [best, other]
    for candidate in ranked[1:]:
        if len(selected) >= most:
            break
        if _is_worth_adding(scoring, candidate, selected, limits) and not _repeats(candidate, selected):
            selected.append(candidate)
    exception = _exception(best, ranked) if len(selected) < most else None
    if exception is not None and not _repeats(exception, selected):
        selected.append(exception)
    return selected


def _is_worth_adding(scoring: ScoringContext, candidate: UnitEvidence, selected: Sequence[UnitEvidence], limits: SelectionLimits) -> bool:
    """Whether a unit adds to the selected ones: it covers more of the question, or continues in the same passage."""
    best = selected[0]
    if candidate.features["aside"] > 0 or (scoring.question.expects and best.shown and not candidate.shown):
        return False
    if best.features["key"] and candidate.unit.table is best.unit.table and not candidate.features["key"]:
        return False  # another row than the one asked for
    if limits.same_subject and not _on_subject(scoring, candidate, best):
        return False
    behind = best.score - candidate.score
    if candidate.unit.passage.number == best.unit.passage.number and behind <= limits.most_behind_in_passage:
        return True
    return behind <= limits.most_behind and _added_share(scoring, candidate, selected) >= limits.least_added


def _on_subject(scoring: ScoringContext, candidate: UnitEvidence, best: UnitEvidence) -> bool:
    """Whether a unit names the rarest term that the best one has of the question, or goes on in its paragraph or list."""
    same_passage = candidate.unit.passage.number == best.unit.passage.number
    if same_passage and candidate.unit.block == best.unit.block and candidate.unit.kind != "row":
        return True
    clear = [term for term, match in best.matches.items() if match > _CLEAR_MATCH]
    return not clear or candidate.matches.get(max(clear, key=lambda term: (scoring.weights[term], term)), 0.0) > _CLEAR_MATCH


def counterpart(best: UnitEvidence, ranked: Sequence[UnitEvidence]) -> UnitEvidence | None:
    """The unit of another passage that says the same thing with other figures: the other version, site or party."""
    return next((evidence for evidence in ranked[1:] if _is_variant(best.unit, evidence.unit)), None)


def same_content(first: str, second: str) -> bool:
    """Whether two texts say the same words and figures."""
    first_terms, second_terms = term_set(first), term_set(second)
    return (
        bool(first_terms and second_terms)
        and len(first_terms & second_terms) / len(first_terms | second_terms) >= 0.8
        and re.findall(r"\d+", first) == re.findall(r"\d+", second)
    )


def _added_share(scoring: ScoringContext, candidate: UnitEvidence, selected: Sequence[UnitEvidence]) -> float:
    """The share of the question's weight that a unit covers better than the selected ones."""
    covered = {term: max(evidence.matches.get(term, 0.0) for evidence in selected) for term in candidate.matches}
    return scoring.share({term: max(0.0, match - covered[term]) for term, match in candidate.matches.items()})


def _exception(best: UnitEvidence, ranked: Sequence[UnitEvidence]) -> UnitEvidence | None:
    """The sentence next to the best one that limits it."""
    place = best.unit.place
    for evidence in ranked:
        unit = evidence.unit
        near = unit.passage.number == place[0] and unit.block == best.unit.block and unit.index == place[1] + 1
        if near and unit.kind == best.unit.kind != "row" and _EXCEPTION.search(unit.text):
            return evidence
    return None


def _repeats(candidate: UnitEvidence, selected: Sequence[UnitEvidence]) -> bool:
    """Whether a unit is selected already, has the same content, or is the same clause of another version or party."""
    return any(
        candidate.unit.place == other.unit.place
        or same_content(candidate.unit.text, other.unit.text)
        or _is_variant(other.unit, candidate.unit)
        for other in selected
    )


def _is_variant(first: Unit, second: Unit) -> bool:
    if first.passage.number == second.passage.number or _FIGURES.findall(first.text) == _FIGURES.findall(second.text):
        return False
    first_terms, second_terms = ({term for term in terms(unit.text) if not term[0].isdigit()} for unit in (first, second))
    if first.row is not None and second.row is not None and first.row.header == second.row.header:
        return first.row.cells[0] == second.row.cells[0]
    return (
        len(first_terms & second_terms) >= _VARIANT_TERMS
        and len(first_terms & second_terms) / len(first_terms | second_terms) >= _VARIANT_SHARE
    )
