"""Answers of a cheap tier that look doubtful are tried once more by the next dearer one."""

from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field, model_validator

from serving.pipeline.checks.grounding.check import check_answer
from serving.pipeline.checks.grounding.embedder import NamedEmbeddings
from serving.pipeline.checks.grounding.model import models_digest
from serving.pipeline.models.threads import run_in_thread
from serving.pipeline.parts import Parts
from serving.pipeline.references import Tier
from serving.pipeline.registry import Params as PlugInParams
from serving.pipeline.types import Answer, Hit, Query, Route


class DoubtfulEscalation:
    """Tries again a refusal, an answer without a citation, or one whose claims the passages do not support.

    With a budget below 1 it counts: of all questions so far no larger share is tried twice. What was asked before then decides, so an
    evaluation asks one question at a time, in the set's own order.
    """

    version: ClassVar[str] = f"1 {models_digest()}"
    withholds: ClassVar[bool] = True

    class Params(PlugInParams):
        """What is doubtful, and how often it is tried again."""

        tiers: tuple[Tier, ...] = Field(default=("lite", "pro"), min_length=2, description="from the cheapest to the dearest")
        refusals: bool = Field(default=True, description="whether a refusal is tried again")
        uncited: bool = Field(default=True, description="whether an answer that cites nothing is tried again")
        grounded_below: float = Field(
            default=0.5, ge=0.0, le=1.0, description="mean probability that the passages support a claim, below which it is tried again"
        )
        budget: float = Field(default=1.0, ge=0.0, le=1.0, description="largest share of the questions that is tried twice")

        @model_validator(mode="after")
        def _each_once(self) -> "DoubtfulEscalation.Params":
            if len(set(self.tiers)) != len(self.tiers):
                raise ValueError("every tier is named once")
            return self

        @property
        def stateful(self) -> bool:
            """Whether the questions before decide."""
            return 0.0 < self.budget < 1.0

    def __init__(self, params: Params, parts: Parts) -> None:
        self._params = params
        self._embedder = NamedEmbeddings(parts.embedder, parts.embeddings)
        self._asked = self._tried_twice = 0

    async def escalate(self, query: Query, route: Route, answer: Answer, passages: Sequence[Hit]) -> Route | None:
        """The next dearer tier; None where there is none, where nothing was found to answer from, or where the budget is spent."""
        self._asked += 1
        tiers = self._params.tiers
        if route.tier not in tiers[:-1] or not passages or not self._within_budget():
            return None
        doubt = await self._doubt(answer, passages)
        if not doubt or not self._within_budget():  # another question may have spent it while this one was checked
            return None
        self._tried_twice += 1
        tier = tiers[tiers.index(route.tier) + 1]
        return Route(tier, f"{route.tier} {doubt}; it was {route.reason}", route.score, route.features, route.domain)

    def _within_budget(self) -> bool:
        return self._tried_twice + 1 <= self._params.budget * self._asked

    async def _doubt(self, answer: Answer, passages: Sequence[Hit]) -> str:
        """What is doubtful; empty for a good answer."""
        params = self._params
        if answer.refused:
            return "refused" if params.refusals else ""
        if params.uncited and not answer.citations:
            return "cited nothing"
        if params.grounded_below <= 0.0:
            return ""
        grounding = await run_in_thread(lambda: check_answer(answer.text, passages, self._embedder))
        score = grounding.probability
        if score is None or score >= params.grounded_below:
            return ""
        return f"was grounded to {score:.2f} < {params.grounded_below:.2f}"
