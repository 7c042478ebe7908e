"""One number for "was this the right thing to say", defined for every case; what sweeps maximise by default."""

from typing import ClassVar

from harness.golden import Case
from harness.metrics.base import Score, Scoring
from harness.metrics.key_facts import KeyFacts
from harness.metrics.token_f1 import TokenF1
from serving.pipeline.registry import Params as PlugInParams
from serving.pipeline.types import Trace


class Quality(Scoring):
    """Key facts stated (or, where a case has none, token F1); for an unanswerable case, whether it was refused."""

    version: ClassVar[str] = "1"

    class Params(PlugInParams):
        """Nothing to set."""

    def __init__(self, params: "Params") -> None:
        self.name = "quality"
        self._facts = KeyFacts(KeyFacts.Params())
        self._words = TokenF1(TokenF1.Params())

    def score(self, trace: Trace, case: Case) -> Score:
        """The share of the right answer that was given."""
        if not case.answerable:
            return self.give(float(trace.answer.refused))
        if trace.answer.refused:
            return self.give(0.0)
        part = self._facts if case.key_facts else self._words
        return self.give(part.score(trace, case).value or 0.0)
