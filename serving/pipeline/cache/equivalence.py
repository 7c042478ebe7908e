"""The judges of whether two questions are the same: the guards, and what gives the score."""

from serving.pipeline.artefacts import Artefacts
from serving.pipeline.cache.reuse import Equivalence, Scorer
from serving.pipeline.checks.equivalence.guards import disagreement
from serving.pipeline.checks.equivalence.verifier import COSINE_SCORER, VERIFIER_SCORER, Verifier, verifier_of
from serving.pipeline.fitted.calibrated import read_calibrated


class _Guarded:
    def objection(self, question: str, other: str) -> str | None:
        """Why the answer may not be given, by the first guard that objects."""
        return disagreement(question, other)


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
