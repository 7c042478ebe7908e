"""Answers that their passages do not support: flagged, marked or blocked; wrong citations: flagged or repaired."""

from typing import ClassVar, Literal

from pydantic import Field

from serving.pipeline.checks.grounding.edits import edited
from serving.pipeline.checks.grounding.embedder import NamedEmbeddings
from serving.pipeline.checks.grounding.model import models_digest
from serving.pipeline.checks.grounding.verify import VerifiedAnswer
from serving.pipeline.guard.base import CheckContext, CheckVerdict, Side
from serving.pipeline.guard.findings import Findings
from serving.pipeline.guard.verified import verified, verified_citations
from serving.pipeline.parts import Parts
from serving.pipeline.registry import Params as PlugInParams
from serving.pipeline.types import GuardAction

BLOCKED = "I cannot answer this: the documents I found do not support what I would say."


class GroundednessCheck:
    """Verifies every claim of an answer against its passages; the score is the metric `groundedness`: their mean probability of support."""

    version: ClassVar[str] = f"2 {models_digest()}"
    sides: ClassVar[tuple[Side, ...]] = ("output",)

    class Params(PlugInParams):
        """What is done about claims that no passage supports, and about citations of the wrong passage."""

        action: Literal["flag", "mark", "block"] = Field(
            default="block",
            description="flag: warn of unsupported claims; mark: write [unsupported] behind each; block: refuse below the threshold",
        )
        threshold: float = Field(default=0.5, ge=0.0, le=1.0, description="the least mean probability that the passages support a claim")
        citations: Literal["keep", "flag", "repair"] = Field(
            default="flag", description="of a claim that another passage supports than the one it cites; repair: that one is cited"
        )

    def __init__(self, params: Params, parts: Parts) -> None:
        self._params = params
        self._embedder = NamedEmbeddings(parts.embedder, parts.embeddings)
        self.blocks = params.action == "block"
        self.rewrites = params.action == "mark" or params.citations == "repair"

    async def check(self, text: str, context: CheckContext) -> CheckVerdict:
        """Whether the passages support the answer; refusals and answers without claims pass."""
        if context.refused:
            return CheckVerdict.allow(text)
        answer = await verified(text, context, self._embedder)
        score = answer.probability
        if score is None:
            return CheckVerdict.allow(text)
        repairs = self._params.citations == "repair"
        held = answer.repaired_probability if repairs else score
        findings = Findings.of(answer, low=held < self._params.threshold, citations=self._params.citations != "keep")
        if self.blocks and (findings.low or not answer.whole):
            action, output = GuardAction.BLOCK, text
        else:
            output = self._edited(answer, findings) if self.rewrites else text
            action = GuardAction.MASK if output != text else GuardAction.FLAG if findings.any else GuardAction.ALLOW
        citations = verified_citations(output, context.passages, answer, repaired=repairs)
        if action is GuardAction.ALLOW:
            return CheckVerdict(action, text, score, citations=citations)
        return CheckVerdict(
            action,
            output,
            score,
            findings.rule,
            findings.reason,
            excerpt=findings.excerpt,
            message=BLOCKED if action is GuardAction.BLOCK else "",
            warning="" if action is GuardAction.BLOCK else findings.warning(context.passages, repaired=repairs),
            citations=citations,
        )

    def _edited(self, answer: VerifiedAnswer, findings: Findings) -> str:
        """The text with what this policy writes into it; marks that no check set are gone."""
        return edited(
            answer.text,
            marked=findings.unsupported if self._params.action == "mark" else (),
            cited_anew=findings.wrong if self._params.citations == "repair" else (),
        )
