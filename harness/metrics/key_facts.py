"""Whether the answer says what a right answer must say."""

from harness.golden.case import Case
from harness.metrics.base import Scoring
from harness.results.score import Score
from serving.pipeline.text.answer_words import contains_fact, normalized
from serving.pipeline.types import Trace


class KeyFacts(Scoring):
    """Share of the case's key facts that stand in the answer, whole words and whole numbers only."""

    version = "2"
    label = "key_facts"

    def measure(self, trace: Trace, case: Case) -> Score:
        """The share found, or why there is none to find."""
        if not case.key_facts:
            return self.skip("the case has no key facts")
        if trace.answer.refused:
            return self.give(0.0, "refused")
        answer = normalized(trace.answer.text)
        missing = [fact for fact in case.key_facts if not contains_fact(answer, fact)]
        return self.give(1 - len(missing) / len(case.key_facts), f"lacks {', '.join(map(repr, missing))}" if missing else "")
