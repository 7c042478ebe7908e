"""Overlap of words with the best reference."""

from collections import Counter

from harness.metrics.references import ReferenceMetric
from serving.pipeline.text.answer_words import words


class TokenF1(ReferenceMetric):
    """Harmonic mean of the shares of words shared with the nearest reference, as SQuAD counts it."""

    version = "2"
    label = "token_f1"

    def agreement(self, answer: str, references: tuple[str, ...]) -> list[float]:
        """The F1 of each."""
        return [f1(words(answer), words(reference)) for reference in references]


def f1(answer: list[str], reference: list[str]) -> float:
    """F1 of two bags of words."""
    shared = sum((Counter(answer) & Counter(reference)).values())
    if not shared:
        return 0.0
    precision, recall = shared / len(answer), shared / len(reference)
    return 2 * precision * recall / (precision + recall)
