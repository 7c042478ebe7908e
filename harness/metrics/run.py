"""What an answer cost: dollars, tokens, calls, milliseconds, as the trace tells them."""

import math
from collections.abc import Sequence

from harness.golden.case import Case
from harness.metrics.base import Scoring
from harness.results.score import Direction, Reads, Score
from serving.pipeline.types import Trace, Usage

KEPT_BEFORE = "kept from before: not measured"


class _Cost(Scoring):
    direction: Direction = "lower"
    range = (0.0, math.inf)
    reads: Reads = "run"
    needs_case = False


class Dollars(_Cost):
    """US dollars for the models' tokens; not known where a model has no known price."""

    label = "usd"

    def measure(self, trace: Trace, case: Case | None) -> Score:
        """The sum, or whose price is unknown."""
        unpriced = sorted({use.model for use in trace.usage if not use.priced})
        if unpriced:
            return self.skip(f"no price for {', '.join(unpriced)}")
        return self.give(float(trace.usd), "simulated" if any(use.simulated for use in trace.usage) else "")


class InputTokens(_Cost):
    """Tokens that the models read."""

    label = "input_tokens"

    def measure(self, trace: Trace, case: Case | None) -> Score:
        """The sum, or which model did not say."""
        return self._sum([use.input_tokens for use in _chat_usage(trace)], trace)

    def _sum(self, tokens: Sequence[int], trace: Trace) -> Score:
        models = sorted({use.model for use in _chat_usage(trace) if _reports_no_tokens(use)})
        return self.skip(f"no token counts from {', '.join(models)}") if models else self.give(float(sum(tokens)))


class OutputTokens(InputTokens):
    """Tokens that the models wrote."""

    label = "output_tokens"

    def measure(self, trace: Trace, case: Case | None) -> Score:
        """The sum, or which model did not say."""
        return self._sum([use.output_tokens for use in _chat_usage(trace)], trace)


class Calls(_Cost):
    """Calls of chat models; 0 where the answer came from the cache or nothing was found."""

    label = "llm_calls"

    def measure(self, trace: Trace, case: Case | None) -> Score:
        """The sum."""
        return self.give(float(sum(use.calls for use in _chat_usage(trace))))


class Latency(_Cost):
    """Milliseconds from question to whole answer."""

    version = "2"
    label = "latency_ms"

    def measure(self, trace: Trace, case: Case | None) -> Score:
        """The time, or why there is none."""
        return self.skip(KEPT_BEFORE) if trace.kept else self.give(trace.milliseconds)


class FirstToken(_Cost):
    """Milliseconds from asking the model to its first words; known where the answer was streamed."""

    version = "2"
    label = "first_token_ms"

    def measure(self, trace: Trace, case: Case | None) -> Score:
        """The time, or why there is none."""
        if any(stage.kept for stage in trace.stages if stage.stage == "answer"):
            return self.skip(KEPT_BEFORE)
        return self.skip("the answer was not streamed") if trace.first_token_ms is None else self.give(trace.first_token_ms)


def _chat_usage(trace: Trace) -> list[Usage]:
    """The calls of chat models; those of embedding models and rerankers cost dollars, but say nothing."""
    return [use for use in trace.usage if use.stage == "answer"]


def _reports_no_tokens(use: Usage) -> bool:
    """Whether a model was called and reported no tokens; that is not the same as none."""
    return use.calls > 0 and not use.priced and not (use.input_tokens or use.output_tokens)
