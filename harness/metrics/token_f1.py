"""Overlap of words with the best reference."""

from collections import Counter

from harness.golden.case import Case
from harness.metrics.base import Score, Scoring
from harness.metrics.words import words
from serving.pipeline.types import Trace


class TokenF1(Scoring):
    """Harmonic mean of the shares of words shared with the nearest reference, as SQuAD counts it."""

    label = "token_f1"

    def score(self, trace: Trace, case: Case) -> Score:
        """The best F1 over the references; 0 for a refusal of an answerable case."""
        if not case.answerable:
            return self.skip("no reference: unanswerable")
        if not case.answers:
            return self.skip("no reference: retrieval only")
        return self.give(max(f1(words(trace.answer.text), words(answer)) for answer in case.answers))


def f1(answer: list[str], reference: list[str]) -> float:
    """F1 of two bags of words."""
    shared = sum((Counter(answer) & Counter(reference)).values())
    if not shared:
        return 0.0
    precision, recall = shared / len(answer), shared / len(reference)
    return 2 * precision * recall / (precision + recall)
