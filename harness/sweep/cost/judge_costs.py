"""Counts what judges cost: answers carry their price in their traces, verdicts do not."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage
from langchain_core.outputs import LLMResult

from harness.judges.base import Judge, Verdict
from harness.judges.llm import LlmJudge
from harness.judges.tools import Tools
from serving.pipeline.models import CHAT_MODELS
from serving.pipeline.models.prices import PriceList, PriceSource, price_list, usage_of
from serving.pipeline.types import Usage


@dataclass
class JudgeCosts:
    """Dollars of judges' calls, counted until they are taken."""

    usd: float = 0.0

    def add(self, use: Usage) -> None:
        """Count a call."""
        self.usd += use.usd

    def take(self) -> float:
        """What was counted since it was last taken."""
        usd, self.usd = self.usd, 0.0
        return usd


class CountedJudge:
    """A judge whose verdicts are counted; a stored one cost nothing."""

    def __init__(self, judge: Judge, costs: JudgeCosts) -> None:
        self.name = judge.name
        self.id = judge.id
        self._judge = judge
        self._costs = costs

    async def judge(self, task: str, values: Mapping[str, str]) -> Verdict:
        """The judge's verdict."""
        verdict = await self._judge.judge(task, values)
        for use in verdict.usage:
            self._costs.add(use)
        return verdict


class CallListener(BaseCallbackHandler):
    """Counts the calls that a library makes to the judge's model."""

    def __init__(self, source: PriceSource, costs: JudgeCosts, prices: PriceList) -> None:
        self._source = source
        self._costs = costs
        self._prices = prices

    def on_llm_end(self, response: LLMResult, **kwargs: Any) -> None:
        """Count a call."""
        for generations in response.generations:
            for one in generations:
                if isinstance(message := getattr(one, "message", None), AIMessage):
                    self._costs.add(usage_of(message, self._source, "judge", self._prices))


def counting_costs(tools: Tools, costs: JudgeCosts) -> Tools:
    """The same tools, the judge's calls counted: ours one by one, since a verdict that fails half-way was paid for too, and libraries'."""
    if tools.judge is None:
        return tools
    listeners: tuple[BaseCallbackHandler, ...] = ()
    if tools.judge_model is not None:
        source = CHAT_MODELS.build(tools.judge_model, name=tools.judge_model.name, settings=tools.settings)
        listeners = (CallListener(source, costs, price_list(tools.settings)),)
    judge = tools.judge.with_usage_callback(costs.add) if isinstance(tools.judge, LlmJudge) else CountedJudge(tools.judge, costs)
    return replace(tools, judge=judge, listeners=listeners)
