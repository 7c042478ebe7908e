"""Comparing an answer with the references: the nearest one counts, and a refusal of what could be answered is 0."""

import re
import string

from harness.golden.case import Case
from harness.metrics.base import Scoring
from harness.results.score import Score
from serving.pipeline.text.answer_words import without_citations
from serving.pipeline.text.folding import caseless
from serving.pipeline.text.words import WORD_WITHOUT_UNDERSCORE
from serving.pipeline.types import Trace

_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


class ReferenceMetric(Scoring):
    """The best agreement with any reference."""

    def measure(self, trace: Trace, case: Case) -> Score:
        """The agreement, or why there is nothing to agree with."""
        if not case.answerable:
            return self.skip("no reference: unanswerable")
        if not case.answers:
            return self.skip("no reference: retrieval only")
        if trace.answer.refused:
            return self.give(0.0, "refused")
        answer = without_citations(trace.answer.text).strip()
        return self.give(max(self.agreement(answer, case.answers))) if answer else self.give(0.0, "no text")

    def agreement(self, answer: str, references: tuple[str, ...]) -> list[float]:
        """How well an answer without citations agrees with each reference, from 0 to 1."""
        raise NotImplementedError


class ExactMatch(ReferenceMetric):
    """1 when the answer is a reference, but for case, punctuation, articles and spaces (as SQuAD compares)."""

    label = "exact_match"

    def agreement(self, answer: str, references: tuple[str, ...]) -> list[float]:
        """Same or not."""
        return [float(squad_form(answer) == squad_form(reference)) for reference in references]


class RougeL(ReferenceMetric):
    """F1 of the longest run of words, gaps allowed, that answer and nearest reference have in common (ROUGE-L, no stemming)."""

    label = "rouge_l"

    def agreement(self, answer: str, references: tuple[str, ...]) -> list[float]:
        """The F1 of each."""
        from rapidfuzz.distance import LCSseq

        answer_words = _words(answer)
        reference_words = [_words(reference) for reference in references]
        return [2 * LCSseq.similarity(answer_words, words) / max(1, len(answer_words) + len(words)) for words in reference_words]


def squad_form(text: str) -> str:
    """A text as SQuAD compares it; one that is nothing but an article or punctuation stays as it is."""
    bare = _ARTICLES.sub(" ", text.lower().translate(_NO_PUNCTUATION))
    return " ".join(bare.split()) or text.strip().lower()


def _words(text: str) -> list[str]:
    return WORD_WITHOUT_UNDERSCORE.findall(caseless(text))
