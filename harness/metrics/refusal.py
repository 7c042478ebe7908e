"""Whether the pipeline refuses when it should, and only then."""

from typing import ClassVar

from harness.golden import Case
from harness.metrics.base import Score, Scoring
from serving.pipeline.registry import Params as PlugInParams
from serving.pipeline.types import Trace


class Refusal(Scoring):
    """1 when an unanswerable question is refused or an answerable one is not, else 0."""

    version: ClassVar[str] = "1"

    class Params(PlugInParams):
        """Nothing to set."""

    def __init__(self, params: "Params") -> None:
        self.name = "refusal"

    def score(self, trace: Trace, case: Case) -> Score:
        """Right or wrong."""
        return self.give(float(trace.answer.refused != case.answerable))
