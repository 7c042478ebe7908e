"""Decides whether the best evidence answers at all; the weights were fitted, see `WEIGHTS`."""

import math
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import Final

from serving.pipeline.models.reader.evidence import UnitEvidence
from serving.pipeline.models.reader.question import ParsedQuestion
from serving.pipeline.models.reader.words import codes

_FEATURES: Final = ("one", "cover", "count", "shown", "passage", "codes_missing", "names_missing", "unknown", "close", "topic")
WEIGHTS: Final = {  # logistic regression: answerable questions against foreign ones, and with less weight unanswerable ones
    False: (-3.4, 0.8, 10.3, 0.35, 0.4, -3.0, -1.15, -0.3, 0.0, 0.0),  # by words alone
    True: (-5.4, 0.0, 9.0, 0.0, 0.0, -3.0, -1.2, -2.0, 5.7, 5.4),
}


_BY_WORDS: Final = 0.9  # so sure by words alone that meaning need not agree


def answers(question: ParsedQuestion, ranked: Sequence[UnitEvidence], *, deep: bool) -> bool:
    """Whether the evidence, best first, is more likely an answer than not."""
    if not ranked:
        return False
    told = doubt_features(question, ranked)
    return confidence(told, WEIGHTS[deep]) >= 0.5 or (deep and confidence(told, WEIGHTS[False]) >= _BY_WORDS)


def doubt_features(question: ParsedQuestion, ranked: Sequence[UnitEvidence]) -> tuple[float, ...]:
    """What tells an answer from a sentence on the same subject."""
    best = ranked[0]
    units = [evidence.unit for evidence in ranked]
    known = set(codes(" ".join(f"{unit.passage.title} {unit.passage.section} {unit.context} {unit.text}" for unit in units)))
    expected = best.marks["shown"] - best.marks["lacks"]
    missing_codes = _missing(question.codes, known)
    missing_names = _missing(question.names, set(best.found))
    unknown = _missing(question.terms, {term for evidence in ranked for term in evidence.found})
    cover, count, passage = (best.marks[name] for name in ("cover", "count", "passage"))
    return (1.0, cover, count, expected, passage, missing_codes, missing_names, unknown, best.close, best.marks.get("topic", 0.0))


def confidence(values: Sequence[float], weights: Sequence[float]) -> float:
    """The probability that the evidence answers."""
    return 1 / (1 + math.exp(-sum(value * weight for value, weight in zip(values, weights, strict=True))))


def _missing(wanted: Sequence[str], present: AbstractSet[str]) -> float:
    return sum(name not in present for name in wanted) / len(wanted) if wanted else 0.0
