"""Whether the answer says what a right answer must say."""

import re

from harness.golden.case import Case
from harness.metrics.base import Score, Scoring
from harness.metrics.words import normal
from serving.pipeline.types import Trace


class KeyFacts(Scoring):
    """Share of the case's key facts that stand in the answer, whole words and whole numbers only."""

    version = "2"
    label = "key_facts"

    def score(self, trace: Trace, case: Case) -> Score:
        """The share found, or why there is none to find."""
        if not case.key_facts:
            return self.skip("the case has no key facts")
        if trace.answer.refused:
            return self.give(0.0, "refused")
        answer = normal(trace.answer.text)
        lacking = [fact for fact in case.key_facts if not holds(answer, fact)]
        return self.give(1 - len(lacking) / len(case.key_facts), f"lacks {', '.join(map(repr, lacking))}" if lacking else "")


def holds(answer: str, fact: str) -> bool:
    """Whether a normalised answer contains a fact, not as part of a longer word or number: "5" is not in "15" or "5.2"."""
    pattern = rf"(?<![\w])(?<!\d[.,]){re.escape(normal(fact))}(?!\w)(?![.,]\d)"
    return re.search(pattern, answer) is not None
