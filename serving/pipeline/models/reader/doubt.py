"""Decides whether the best evidence answers at all; the weights were fitted, see `WEIGHTS`."""

import math
from collections.abc import Sequence
from typing import Final

from serving.pipeline.models.reader.evidence import Evidence
from serving.pipeline.models.reader.question import Question
from serving.pipeline.models.reader.words import codes

_FEATURES: Final = ("one", "found", "whole", "shown", "codes_missing", "names_missing", "close")
_MANY: Final = 6  # question terms found at one unit; more say no more
WEIGHTS: Final = {  # logistic regression: answerable against foreign and unanswerable questions, moved .3 towards answering
    False: (-1.2, 3.6, 1.2, 0.6, -3.0, -0.2, 0.0),  # by words alone
    True: (-1.3, 2.4, 1.2, 0.55, -3.0, -0.8, 2.1),
}


def answers(question: Question, ranked: Sequence[Evidence], *, deep: bool) -> bool:
    """Whether the evidence, best first, is more likely an answer than not."""
    if not ranked:
        return False
    return confidence(features(question, ranked), WEIGHTS[deep]) >= 0.5


def features(question: Question, ranked: Sequence[Evidence]) -> tuple[float, ...]:
    """What tells an answer from a sentence on the same subject."""
    best = ranked[0]
    units = [evidence.unit for evidence in ranked]
    known = set(codes(" ".join(f"{unit.passage.title} {unit.passage.section} {unit.context} {unit.text}" for unit in units)))
    missing_codes = _missing(question.codes, known)
    missing_names = _missing(question.names, best.found)
    whole = 1.0 if len(best.found) == len(question.terms) else 0.0
    expected = 0.0 if not question.expects else 1.0 if best.shown else -1.0
    return (1.0, min(len(best.found), _MANY) / _MANY, whole, expected, missing_codes, missing_names, best.close)


def confidence(values: Sequence[float], weights: Sequence[float]) -> float:
    """The probability that the evidence answers."""
    return 1 / (1 + math.exp(-sum(value * weight for value, weight in zip(values, weights, strict=True))))


def _missing(wanted: Sequence[str], present: set[str] | frozenset[str]) -> float:
    return sum(name not in present for name in wanted) / len(wanted) if wanted else 0.0
