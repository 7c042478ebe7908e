"""Whether a kept question's answer may be given for another question."""

from dataclasses import dataclass
from typing import Literal, Protocol

from serving.pipeline.cache.vectors import Neighbour

Scorer = Literal["verifier", "cosine"]


class Equivalence(Protocol):
    """Two judges of whether one question may take the other's answer."""

    name: str  # of what gives the score, with its version

    def objection(self, question: str, other: str) -> str | None:
        """Why not, in words; `None` where no guard objects."""
        ...

    def score(self, question: str, other: str, similarity: float) -> float:
        """How sure that it may, from 0 to 1."""
        ...


@dataclass(frozen=True, slots=True)
class ReuseRule:
    """Guards first, then a score against a threshold; questions below a least similarity are not looked at."""

    judges: Equivalence
    threshold: float
    least_similarity: float

    def raised(self) -> "ReuseRule":
        """The rule with half the way from its threshold to 1."""
        return ReuseRule(self.judges, (1 + self.threshold) / 2, self.least_similarity)

    def refusal(self, question: str, neighbour: Neighbour, other: str) -> str:
        """Why the neighbour's answer is not given; empty where it is."""
        objection = self.judges.objection(question, other)
        if objection:
            return f"guard: {objection}"
        score = self.judges.score(question, other, neighbour.similarity)
        if score < self.threshold:
            return f"verifier: {score:.3f} is below {self.threshold:.3f}"
        return ""
