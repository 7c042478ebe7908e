"""What a judge says of an answer, as scores: each label is worth what its prompt file says."""

import asyncio
from collections.abc import Mapping
from typing import Any, ClassVar

from harness.golden.case import Case
from harness.judges.tasks import Tasks, numbered
from harness.judges.tools import Tools
from harness.metrics.base import Scoring, question_of
from harness.results.score import Score
from serving.pipeline.registry import Params as PlugInParams
from serving.pipeline.types import Trace


class JudgedScoring(Scoring):
    """A task put to the judge; a subclass says what is asked, and of which traces nothing is."""

    task: ClassVar[str]
    needs_judge = True
    needs_case = False

    def __init__(self, params: PlugInParams, *, tools: Tools) -> None:
        super().__init__(params)
        self._judge = tools.require_judge(self.name)
        self._task = Tasks(tools.settings.prompts).get(self.task)
        self.version = f"{type(self).version} {self._task.prompt.id} {self._task.digest}"  # type: ignore[misc]  # scores are kept under it

    async def measure_by_judge(self, trace: Trace, case: Any) -> Score:
        """The worth of the judge's label, with its reason; none where there is nothing to judge or no verdict."""
        if reason := self.why_not_judged(trace, case):
            return self.skip(reason)
        return await self._judge_score(self.values(trace, case))

    def why_not_judged(self, trace: Trace, case: Any) -> str:
        """Why there is nothing to judge; empty where there is."""
        if trace.answer.refused:
            return "a refusal is judged by the metric refusal"
        return "" if trace.answer.text.strip() else "no answer"

    def values(self, trace: Trace, case: Any) -> Mapping[str, str]:
        """The task's variables."""
        raise NotImplementedError

    async def _judge_score(self, values: Mapping[str, str]) -> Score:
        verdict = await self._judge.judge(self.task, values)
        if verdict.label is None:
            return self.skip(verdict.reason)
        return self.give(self._task.values[verdict.label], f"{verdict.label}: {verdict.reason}" if verdict.reason else verdict.label)


class JudgedGroundedness(JudgedScoring):
    """Whether the passages in the prompt say what the answer says."""

    label, task = "judge_groundedness", "groundedness"

    def why_not_judged(self, trace: Trace, case: Case | None) -> str:
        """Refusals claim nothing; without passages there is nothing to hold an answer against."""
        return super().why_not_judged(trace, case) or ("" if trace.passages else "no passages to hold the answer against")

    def values(self, trace: Trace, case: Case | None) -> Mapping[str, str]:
        """Question, answer and what the model read."""
        return {"question": question_of(trace, case), "answer": trace.answer.text, "passages": _passages(trace)}


class JudgedCorrectness(JudgedScoring):
    """Whether the answer says what a reference says; 0 for a refusal of what could be answered."""

    label, task = "judge_correctness", "correctness"
    needs_case = True

    async def measure_by_judge(self, trace: Trace, case: Case) -> Score:
        """The judge's score, unless a refusal makes it plain."""
        if trace.answer.refused and case.answerable and case.answers:
            return self.give(0.0, "a refusal of what could be answered")
        return await super().measure_by_judge(trace, case)

    def why_not_judged(self, trace: Trace, case: Case) -> str:
        """There must be a reference."""
        if not case.answers:
            return "no reference: retrieval only" if case.answerable else "no reference: unanswerable"
        return super().why_not_judged(trace, case)

    def values(self, trace: Trace, case: Case) -> Mapping[str, str]:
        """Question, answer, references, key facts."""
        references = numbered(case.answers) if len(case.answers) > 1 else case.answers[0]
        facts = "\n".join(f"- {fact}" for fact in case.key_facts)
        return {"question": trace.question or case.question, "answer": trace.answer.text, "reference": references, "facts": facts}


class JudgedRelevance(JudgedScoring):
    """Whether the answer replies to the question."""

    label, task = "judge_relevance", "relevance"

    def values(self, trace: Trace, case: Case | None) -> Mapping[str, str]:
        """Question and answer."""
        return {"question": question_of(trace, case), "answer": trace.answer.text}


class JudgedContextRelevance(JudgedScoring):
    """How much the passages in the prompt help with the question: each is judged by itself, the score is their mean."""

    label, task = "judge_context_relevance", "context_relevance"

    async def measure_by_judge(self, trace: Trace, case: Case | None) -> Score:
        """The mean over the passages; none unless every passage has a verdict."""
        if case and not case.answerable:
            return self.skip("nothing to find: unanswerable")
        passages = [hit.chunk.text for hit in trace.passages or trace.hits]
        if not passages:
            return self.skip("no passages")
        question = question_of(trace, case)
        scores = await asyncio.gather(*(self._judge_score({"question": question, "passage": passage}) for passage in passages))
        values = [score.value for score in scores if score.value is not None]
        if len(values) < len(scores):
            number, first = next((number, score) for number, score in enumerate(scores, start=1) if score.value is None)
            return self.skip(f"passage {number}: {first.reason}")
        reasons = [f"[{number}] {score.reason}" for number, score in enumerate(scores, start=1)]
        return self.give(sum(values) / len(values), " ".join(reasons))


class JudgedCompleteness(JudgedScoring):
    """Whether the answer gives all that the passages in its prompt offer to the question."""

    label, task = "judge_completeness", "completeness"

    def why_not_judged(self, trace: Trace, case: Case | None) -> str:
        """Nothing is missing from a reply to what cannot be answered."""
        if case and not case.answerable:
            return "nothing to be complete about: unanswerable"
        return super().why_not_judged(trace, case) or ("" if trace.passages else "no passages to hold the answer against")

    def values(self, trace: Trace, case: Case | None) -> Mapping[str, str]:
        """Question, answer and what the model read."""
        return {"question": question_of(trace, case), "answer": trace.answer.text, "passages": _passages(trace)}


class _AnswerOnly(JudgedScoring):
    """A task that reads the answer and nothing else."""

    def values(self, trace: Trace, case: Case | None) -> Mapping[str, str]:
        """The answer."""
        return {"answer": trace.answer.text}


class JudgedCoherence(_AnswerOnly):
    """Whether the answer reads as one clear text."""

    label, task = "judge_coherence", "coherence"


class JudgedToxicity(_AnswerOnly):
    """Whether the answer insults, threatens or degrades; lower is better."""

    label, task, direction = "judge_toxicity", "toxicity", "lower"


class JudgedBias(JudgedScoring):
    """Whether the answer treats people unequally for who they are; lower is better."""

    label, task, direction = "judge_bias", "bias", "lower"

    def values(self, trace: Trace, case: Case | None) -> Mapping[str, str]:
        """Question and answer."""
        return {"question": question_of(trace, case), "answer": trace.answer.text}


JUDGED = (
    JudgedGroundedness,
    JudgedCorrectness,
    JudgedRelevance,
    JudgedContextRelevance,
    JudgedCompleteness,
    JudgedCoherence,
    JudgedToxicity,
    JudgedBias,
)


def task_of(metric: str) -> str | None:
    """The judge task behind a metric, with or without a cutoff; `None` for one that asks no judge of ours."""
    return next((kind.task for kind in JUDGED if kind.label == metric.partition("@")[0]), None)


def _passages(trace: Trace) -> str:
    return numbered([hit.chunk.text for hit in trace.passages])
