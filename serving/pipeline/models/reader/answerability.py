"""Decides whether the best evidence answers the question at all: a logistic model with the fitted `WEIGHTS`."""

import math
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import Final

from serving.pipeline.models.reader.evidence import UnitEvidence
from serving.pipeline.models.reader.question import ParsedQuestion
from serving.pipeline.models.reader.words import codes

# by: one, cover, count, shown, passage, codes missing, names missing, unknown, close, topic
WEIGHTS: Final = {  # logistic regression on answerable, unrelated and (with less weight) unanswerable questions
    False: (-3.4, 0.8, 10.3, 0.8, 0.4, -3.0, -1.15, -0.3, 0.0, 0.0),  # by words alone
    True: (-5.4, 0.0, 9.0, 0.0, 0.0, -3.0, -1.2, -2.0, 5.7, 5.4),
}


_ANSWERS_ITS_HEADING: Final = 0.5  # share of the question in the headings from which what stands below them answers, of whatever kind
_SURE_BY_WORDS: Final = 0.9  # probability by words alone from which similarity need not agree


def is_answerable(question: ParsedQuestion, ranked: Sequence[UnitEvidence], *, with_similarity: bool) -> bool:
    """Whether the evidence, best first, is more likely an answer than not."""
    if not ranked:
        return False
    features = answerability_features(question, ranked)
    return probability(features, WEIGHTS[with_similarity]) >= 0.5 or (
        with_similarity and probability(features, WEIGHTS[False]) >= _SURE_BY_WORDS
    )


def answerability_features(question: ParsedQuestion, ranked: Sequence[UnitEvidence]) -> tuple[float, ...]:
    """The features that separate an answer from a sentence on the same subject."""
    best = ranked[0]
    units = [evidence.unit for evidence in ranked]
    known_codes = set(codes(" ".join(f"{unit.passage.title} {unit.passage.section} {unit.context} {unit.text}" for unit in units)))
    known_codes |= set(codes(" ".join({name: None for unit in units if unit.row for name in unit.row.header})))
    expected = best.features["shown"] - best.features["lacks"] * (best.features["heading"] < _ANSWERS_ITS_HEADING)
    missing_codes = _missing(question.codes, known_codes)
    missing_names = _missing(question.names, set(best.matches))
    unknown = _missing(question.terms, {term for evidence in ranked for term in evidence.matches})
    cover, count, passage = (best.features[name] for name in ("cover", "count", "passage"))
    return (1.0, cover, count, expected, passage, missing_codes, missing_names, unknown, best.similarity, best.features.get("topic", 0.0))


def probability(values: Sequence[float], weights: Sequence[float]) -> float:
    """The probability that the evidence answers."""
    return 1 / (1 + math.exp(-sum(value * weight for value, weight in zip(values, weights, strict=True))))


def _missing(expected: Sequence[str], present: AbstractSet[str]) -> float:
    return sum(name not in present for name in expected) / len(expected) if expected else 0.0
