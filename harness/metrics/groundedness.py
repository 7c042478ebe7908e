"""Whether an answer stands on its passages, as scores."""

from harness.golden.case import Case
from harness.judges.tools import Tools
from harness.metrics.base import Scoring
from harness.results.score import Direction, Score
from serving.pipeline.checks.grounding.check import AnswerGrounding, check_answer
from serving.pipeline.checks.grounding.model import models_digest
from serving.pipeline.registry import Params as PlugInParams
from serving.pipeline.types import Trace


class _Grounding(Scoring):
    """What the three have in common: refusals and answers without claims are left out."""

    needs_case = False

    def __init__(self, params: PlugInParams, tools: Tools) -> None:
        super().__init__(params)
        self._tools = tools
        self.version = f"{type(self).version} {models_digest()} {tools.embedder_id}"  # type: ignore[misc]  # scores are kept under it

    def measure(self, trace: Trace, case: Case | None) -> Score:
        """The value over the answer's claims, and which are not grounded."""
        if trace.answer.refused:
            return self.skip("a refusal claims nothing")
        checked = check_answer(trace.answer.text, trace.passages, self._tools)
        value = self.value(checked)
        return self.skip("the answer claims nothing") if value is None else self.give(value, checked.reason)

    def value(self, checked: AnswerGrounding) -> float | None:
        raise NotImplementedError


class Groundedness(_Grounding):
    """Mean probability that the passages support a claim of the answer."""

    label = "groundedness"

    def value(self, checked: AnswerGrounding) -> float | None:
        """The mean over the claims."""
        return checked.probability


class Factuality(_Grounding):
    """Share of the answer's claims that are grounded."""

    label = "factuality"

    def value(self, checked: AnswerGrounding) -> float | None:
        """Grounded claims over claims."""
        return checked.grounded_share


class Hallucination(_Grounding):
    """1 for an answer with an ungrounded claim, else 0; its mean is the hallucination rate."""

    label = "hallucination"
    direction: Direction = "lower"

    def value(self, checked: AnswerGrounding) -> float | None:
        """Whether any claim is not grounded."""
        return float(bool(checked.ungrounded)) if checked.claims else None
