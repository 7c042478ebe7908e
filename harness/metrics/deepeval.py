"""The adapter to deepeval: our metrics as its metrics, and its G-Eval on our models.

The only module that imports deepeval, and it does so at once: take `assert_test` from here, so that what silences deepeval
stands before its first import.
"""
# ruff: noqa: E402 — the environment is set before deepeval is imported

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, PrivateAttr

QUIET = {"DEEPEVAL_TELEMETRY_OPT_OUT": "1", "DEEPEVAL_DISABLE_DOTENV": "1", "DEEPEVAL_FILE_SYSTEM": "READ_ONLY"}
for _name, _value in QUIET.items():  # deepeval reads these while it is imported, so they cannot be settings of ours
    os.environ.setdefault(_name, _value)

from deepeval.evaluate import assert_test as deepevals_assert_test
from deepeval.metrics import BaseMetric, GEval
from deepeval.models import DeepEvalBaseLLM
from deepeval.test_case import LLMTestCase, SingleTurnParams

from harness.golden.case import Case
from harness.judges.tools import Tools
from harness.metrics import is_judged, metric
from harness.metrics.base import question_of
from harness.metrics.structured import ask_for
from harness.results.case_result import CaseResult
from harness.results.score import Score
from serving.pipeline.errors import ConfigError, DataError, InfrastructureError
from serving.pipeline.models.threads import run_blocking
from serving.pipeline.text.answer_words import without_citations
from serving.pipeline.types import Trace

__all__ = ["TouchstoneMetric", "TracedTestCase", "assert_test", "test_case"]

FIELDS = {"question": SingleTurnParams.INPUT, "answer": SingleTurnParams.ACTUAL_OUTPUT, "reference": SingleTurnParams.EXPECTED_OUTPUT}


class TracedTestCase(LLMTestCase):
    """deepeval's test case that remembers the trace, the golden case and the scores already given."""

    _trace: Trace | None = PrivateAttr(default=None)
    _case: Case | None = PrivateAttr(default=None)
    _scores: tuple[Score, ...] = PrivateAttr(default=())


def test_case(result: CaseResult | Trace, case: Case | None = None) -> TracedTestCase:  # noqa: PT028 — not a test
    """The test case of one answer; a row of an evaluation brings its golden case and its scores along."""
    if isinstance(result, CaseResult):
        trace, case, scores = result.trace, result.case, result.scores
        if trace is None:
            message = f"case {case.id!r} was not answered: {result.error.message if result.error else 'no trace'}"
            raise InfrastructureError(message) if result.error and result.error.infrastructure else DataError(message)
    else:
        trace, scores = result, ()
    if case is None:
        raise DataError("test_case(trace, case) needs the golden case that the trace answers.")
    deepeval_case = TracedTestCase(
        name=case.id,
        input=trace.question or case.question,
        actual_output=trace.answer.text,
        expected_output=case.answers[0] if case.answers else None,
        retrieval_context=[hit.chunk.text for hit in trace.passages],
    )
    deepeval_case._trace, deepeval_case._case, deepeval_case._scores = trace, case, scores
    return deepeval_case


test_case.__test__ = False  # type: ignore[attr-defined]  # pytest would collect it where it is imported


class TouchstoneMetric(BaseMetric):  # type: ignore[no-untyped-call]  # deepeval is not typed
    """One of our metrics; the threshold is a floor, or a ceiling where lower is better.

    A case that the metric cannot score fails with the reason, unless unscored cases may pass.
    """

    def __init__(self, name: str, *, threshold: float, tools: Tools | None = None, unscored: Literal["fail", "pass"] = "fail") -> None:
        # deepeval copies a metric by reading attributes that are called as the parameters are
        self.name = name
        self.threshold = threshold
        self.tools = tools
        self.unscored = unscored
        self._scorer = metric(name, tools)

    @property
    def __name__(self) -> str:
        return self.name

    def measure(self, test_case: LLMTestCase, *args: Any, **kwargs: Any) -> float | None:  # type: ignore[override]  # None: unscored
        """The score, for a caller that cannot await."""
        return run_blocking(self._measure(test_case))

    async def a_measure(  # type: ignore[override]  # None: unscored
        self, test_case: LLMTestCase, *args: Any, **kwargs: Any
    ) -> float | None:
        """The score; the one the test case brings along where it does."""
        return await self._measure(test_case)

    def is_successful(self) -> bool:
        """Whether the score is on the right side of the threshold."""
        return bool(self.success)

    async def _measure(self, test_case: LLMTestCase) -> float | None:
        if not isinstance(test_case, TracedTestCase) or test_case._trace is None or test_case._case is None:
            raise ConfigError("TouchstoneMetric reads traces. Make the test case with harness.metrics.deepeval.test_case(…).")
        given = next((score for score in test_case._scores if score.metric == self._scorer.name), None)
        score = given or await self._compute(test_case._trace, test_case._case)
        self.score, self.reason, self.error = score.value, score.reason, None
        if score.value is None:
            self.success = self.unscored == "pass"
            self.error = None if self.success else f"not scored: {score.reason}"
        else:
            assert self.threshold is not None
            lower = self._scorer.direction == "lower"
            self.success = score.value <= self.threshold if lower else score.value >= self.threshold
        return self.score

    async def _compute(self, trace: Trace, case: Case) -> Score:
        return await self._scorer.ask(trace, case) if is_judged(self._scorer) else self._scorer.score(trace, case)


def assert_test(test_case: LLMTestCase, metrics: Sequence[BaseMetric]) -> None:
    """Deepeval's own, without the event loop that it opens and never closes (a warning in whatever test comes later)."""
    deepevals_assert_test(test_case, list(metrics), run_async=False)


class JudgeModel(DeepEvalBaseLLM):  # type: ignore[no-untyped-call]  # deepeval is not typed
    """Any LangChain chat model, filling the shapes that deepeval asks for."""

    def __init__(self, tools: Tools, name: str) -> None:
        self._tools = tools
        super().__init__(name)

    def load_model(self) -> Any:
        """Our connected model."""
        return self._tools.chat

    def generate(self, prompt: str, schema: type[BaseModel] | None = None) -> Any:
        """The answer, for a caller that cannot await."""
        return run_blocking(self.a_generate(prompt, schema))

    async def a_generate(self, prompt: str, schema: type[BaseModel] | None = None) -> Any:
        """The answer, in the shape where there is one."""
        if schema is None:
            return str((await self._tools.chat.ainvoke(prompt)).text)
        return await ask_for(self._tools.chat, prompt, schema)

    def get_model_name(self) -> str:
        """As the user named it."""
        return str(self.name)


@dataclass(frozen=True, slots=True)
class Judgement:
    """G-Eval's score, from 0 to 1 if the judge kept to its scale, and why."""

    value: float
    reason: str


async def geval(name: str, reads: Sequence[str], steps: Sequence[str], tools: Tools, trace: Trace, case: Case | None) -> Judgement:
    """What G-Eval's judge says of an answer, by these steps."""
    evaluator = GEval(
        name=name,
        evaluation_params=[FIELDS[field] for field in reads],
        evaluation_steps=list(steps),
        model=JudgeModel(tools, tools.require_chat_model(name).name),
        verbose_mode=False,
    )
    answer = without_citations(trace.answer.text)
    reference = case.answers[0] if case and case.answers else None
    deepeval_case = LLMTestCase(input=question_of(trace, case), actual_output=answer, expected_output=reference)
    return Judgement(float(await evaluator.a_measure(deepeval_case, _show_indicator=False)), evaluator.reason or "")
