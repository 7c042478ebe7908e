"""The judges of whether two questions are the same: the guards, and what gives the score."""

import re
from typing import Final

from serving.pipeline.artefacts import Artefacts
from serving.pipeline.cache.reuse import Equivalence, Scorer
from serving.pipeline.checks.equivalence.guards import disagreement
from serving.pipeline.checks.equivalence.verifier import COSINE_SCORER, VERIFIER_SCORER, Verifier, verifier_of
from serving.pipeline.fitted.calibrated import read_calibrated
from serving.pipeline.text.stopwords import STOP_WORDS

_WORD: Final = re.compile(r"[A-Za-z]{2,12}")


class _Guarded:
    def objection(self, question: str, other: str) -> str | None:
        """Why the answer may not be given, by the first guard that objects."""
        return disagreement(question, other) or loud_word(question, other) or loud_word(other, question)


class CosineEquivalence(_Guarded):
    """Guards, and the cosine of the questions' vectors."""

    name = COSINE_SCORER

    def score(self, question: str, other: str, similarity: float) -> float:
        """The cosine."""
        return similarity


class VerifiedEquivalence(_Guarded):
    """Guards, and the probability of a fitted verifier."""

    name = VERIFIER_SCORER

    def __init__(self, verifier: Verifier) -> None:
        self._verifier = verifier

    def score(self, question: str, other: str, similarity: float) -> float:
        """The verifier's probability."""
        return self._verifier.probability(question, other, similarity)


def equivalence_of(scorer: Scorer, calibrated: str | None, artefacts: Artefacts) -> Equivalence:
    """The judges by the name of their score; the verifier is the one that an artefact brings, or the one that ships."""
    if scorer == "cosine":
        return CosineEquivalence()
    fitted = read_calibrated(artefacts, calibrated, "cache").fitted if calibrated else {}
    return VerifiedEquivalence(verifier_of(fitted))


def loud_word(question: str, other: str) -> str | None:
    """An acronym of one question that is a common word of the other: IT and it, WHO and who."""
    loud = {word.lower() for word in _WORD.findall(question) if word.isupper()}
    if not loud or question.isupper():
        return None
    quiet = {word.lower() for word in _WORD.findall(other) if not word.isupper()}
    common = sorted(loud & quiet & STOP_WORDS)
    return f"{common[0].upper()!r} is no {common[0]!r}" if common else None
