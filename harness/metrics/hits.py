"""What metrics of the hits have in common: a cutoff, and no score where nothing was searched."""

from typing import Any

from pydantic import Field

from harness.metrics.base import Scoring
from harness.results.score import Score
from serving.pipeline.registry import Params as PlugInParams
from serving.pipeline.types import GuardAction, Span, Trace

RANKED = 50  # places of the ranking that an evaluation keeps, and in which documents are looked for


class HitMetric(Scoring):
    """A score of what retrieval found; a question that never reached it has none."""

    reads = "hits"

    def measure(self, trace: Trace, case: Any) -> Score:
        """The score, or why there is none."""
        reason = unsearched(trace)
        return self.skip(reason) if reason else self.measure_hits(trace, case)

    def measure_hits(self, trace: Trace, case: Any) -> Score:
        """The score of a trace whose question was searched for."""
        raise NotImplementedError


class CutoffMetric(HitMetric):
    """A score of the first k hits that were handed on."""

    class Params(PlugInParams):
        """Where the list is cut."""

        k: int = Field(default=10, ge=1, le=1000)

    def __init__(self, params: Params) -> None:
        super().__init__(params)
        self.k = params.k
        self.name = f"{self.label}@{params.k}"


def ranking_of(trace: Trace) -> tuple[Span, ...]:
    """The ranking as it was before the cut at `top_k`; of a trace that does not tell, the places of its hits."""
    return trace.ranking or tuple(hit.chunk.span for hit in trace.hits)


def unsearched(trace: Trace) -> str:
    """Why there are no hits although retrieval is not to blame; empty when it was asked."""
    if trace.cached:
        return "answered from the cache: nothing was searched"
    if any(verdict.side == "input" and verdict.action is GuardAction.BLOCK for verdict in trace.guard):
        return "blocked by the input guard: nothing was searched"
    return ""
