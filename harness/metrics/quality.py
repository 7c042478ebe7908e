"""One number for "was this the right thing to say", defined for every case; what sweeps maximise by default."""

from harness.golden.case import Case
from harness.metrics.base import Scoring
from harness.metrics.citations import CitationPrecision
from harness.metrics.key_facts import KeyFacts
from harness.metrics.token_f1 import TokenF1
from harness.results.score import Score
from serving.pipeline.registry import Params as PlugInParams
from serving.pipeline.types import Trace


class Quality(Scoring):
    """Right facts from the right sources: the harmonic mean of key facts and citation precision; for an unanswerable case, the refusal.

    Facts alone would reward quoting everything, sources alone would reward saying nothing; an answer is as good as both.
    A case without key facts is judged by token F1 instead.
    """

    version = "2"
    label = "quality"

    def __init__(self, params: PlugInParams) -> None:
        super().__init__(params)
        self._facts = KeyFacts(KeyFacts.Params())
        self._words = TokenF1(TokenF1.Params())
        self._sources = CitationPrecision(CitationPrecision.Params())

    def measure(self, trace: Trace, case: Case) -> Score:
        """How good the answer is; 0 for a refusal of what could be answered."""
        if case.scope == "retrieval":
            return self.skip("no reference: retrieval only")
        if not case.answerable:
            return self.give(float(trace.answer.refused))
        if trace.answer.refused:
            return self.give(0.0)
        facts = (self._facts if case.key_facts else self._words).measure(trace, case).value or 0.0
        sources = self._sources.measure(trace, case).value or 0.0
        return self.give(2 * facts * sources / (facts + sources) if facts and sources else 0.0)
