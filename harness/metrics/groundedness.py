"""Whether an answer stands on its passages: every claim held against what it cites."""

from dataclasses import dataclass

from harness.golden.case import Case
from harness.judges.tools import Tools
from harness.metrics.base import Scoring
from harness.results.score import Direction, Score
from serving.pipeline.checks.grounding.claims import Said, claims_of, passages_for
from serving.pipeline.checks.grounding.model import digest
from serving.pipeline.checks.grounding.support import Claim, Support, support_all
from serving.pipeline.registry import Params as PlugInParams
from serving.pipeline.types import Trace

_SHOWN = 3  # ungrounded claims told in a reason


@dataclass(frozen=True, slots=True)
class Checked:
    """A claim and its support."""

    said: Said
    support: Support


def check(trace: Trace, tools: Tools) -> list[Checked]:
    """Every claim of an answer with its support."""
    said = claims_of(trace.answer.text)
    found = support_all([Claim(one.text, passages_for(one, trace)) for one in said], tools)
    return [Checked(one, support) for one, support in zip(said, found, strict=True)]


class _Grounding(Scoring):
    """What the three have in common: refusals and answers without claims are left out."""

    def __init__(self, params: PlugInParams, tools: Tools) -> None:
        super().__init__(params)
        self._tools = tools
        self.version = f"{type(self).version} {digest()} {tools.embedder_id}"  # type: ignore[misc]  # scores are kept under it

    def score(self, trace: Trace, case: Case) -> Score:
        """The value over the answer's claims, and which are not grounded."""
        if trace.answer.refused:
            return self.skip("a refusal claims nothing")
        checked = check(trace, self._tools)
        if not checked:
            return self.skip("the answer claims nothing")
        return self.give(self.value(checked), _told(checked))

    def value(self, checked: list[Checked]) -> float:
        raise NotImplementedError


class Groundedness(_Grounding):
    """Mean probability that the passages support a claim of the answer."""

    label = "groundedness"

    def value(self, checked: list[Checked]) -> float:
        """The mean over the claims."""
        return sum(one.support.probability for one in checked) / len(checked)


class Factuality(_Grounding):
    """Share of the answer's claims that are grounded."""

    label = "factuality"

    def value(self, checked: list[Checked]) -> float:
        """Grounded claims over claims."""
        return sum(one.support.grounded for one in checked) / len(checked)


class Hallucination(_Grounding):
    """1 for an answer with an ungrounded claim, else 0; its mean is the hallucination rate."""

    label = "hallucination"
    direction: Direction = "lower"

    def value(self, checked: list[Checked]) -> float:
        """Whether any claim is not grounded."""
        return float(not all(one.support.grounded for one in checked))


def _told(checked: list[Checked]) -> str:
    """The ungrounded claims with what is wrong with them."""
    wrong = [one for one in checked if not one.support.grounded]
    told = [f"{one.said.text[:160]!r} ({one.support.reason})" for one in wrong[:_SHOWN]]
    more = f" and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
    return f"not grounded: {', '.join(told)}{more}" if wrong else ""
